// The pattern of GPT-2, by hand: what ByteLevel uses unless told otherwise.
//
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// Linear in the text. gpt2_pattern_test proves it equal to Oniguruma on random strings.
#ifndef MNEME_LOADER_TOKENIZER_GPT2_PATTERN_H_
#define MNEME_LOADER_TOKENIZER_GPT2_PATTERN_H_

#include <string_view>
#include <vector>

#include "loader/tokenizer/regex.h"

namespace mneme::loader::tokenizer_internal {

inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// Appends the matches in `text` (valid UTF-8). They cover all of it.
void FindGpt2(std::string_view text, std::vector<Span>* matches);

}  // namespace mneme::loader::tokenizer_internal

#endif  // MNEME_LOADER_TOKENIZER_GPT2_PATTERN_H_
