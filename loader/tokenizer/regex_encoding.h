// UTF-8 for Oniguruma, with the character properties of Unicode 16.
//
// Oniguruma 6.9.8 knows Unicode 14, and its [[:punct:]] lacks the symbols that later releases have.
// The engine asks its encoding which characters a class holds; this encoding answers from CharTable
// for the general categories, and for what the POSIX brackets, \d, \w and \b are made of. Anything
// else it passes on.
#ifndef MNEME_LOADER_TOKENIZER_REGEX_ENCODING_H_
#define MNEME_LOADER_TOKENIZER_REGEX_ENCODING_H_

struct OnigEncodingTypeST;

namespace mneme::loader::tokenizer_internal {

// Made by the first call, which must come behind onig_initialize. Lives forever. Thread safe.
OnigEncodingTypeST* Unicode16Encoding();

}  // namespace mneme::loader::tokenizer_internal

#endif  // MNEME_LOADER_TOKENIZER_REGEX_ENCODING_H_
