// The byte-level alphabet of GPT-2: one printable character for each byte.
// Bytes that are printable Latin-1 stand for themselves, the others, in order, are U+0100, U+0101…
#ifndef MNEME_LOADER_TOKENIZER_BYTE_LEVEL_H_
#define MNEME_LOADER_TOKENIZER_BYTE_LEVEL_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace mneme::loader::tokenizer_internal {

// The byte that a character stands for, or -1.
int ByteOfCharacter(char32_t c);

// Appends each byte's character.
void AppendByteLevel(std::string_view bytes, std::string* out);

// If every character of the token stands for a byte, appends these bytes, else the token itself.
// Requires valid UTF-8.
void AppendByteLevelDecoded(std::string_view token, std::string* out);

}  // namespace mneme::loader::tokenizer_internal

#endif  // MNEME_LOADER_TOKENIZER_BYTE_LEVEL_H_
