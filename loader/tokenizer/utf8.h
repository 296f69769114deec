// UTF-8, one character at a time.
#ifndef MNEME_LOADER_TOKENIZER_UTF8_H_
#define MNEME_LOADER_TOKENIZER_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mneme::loader::tokenizer_internal {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

struct Utf8Char {
  char32_t code_point;
  uint32_t size;  // in bytes
};

// The first character of `text`. Requires valid UTF-8 and at least one character.
inline Utf8Char DecodeUtf8(std::string_view text) {
  const auto at = [&](int i) { return static_cast<char32_t>(static_cast<uint8_t>(text[i])); };
  const char32_t lead = at(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | (at(1) & 0x3F), 2};
  if (lead < 0xF0) return {(lead & 0x0F) << 12 | (at(1) & 0x3F) << 6 | (at(2) & 0x3F), 3};
  return {(lead & 0x07) << 18 | (at(1) & 0x3F) << 12 | (at(2) & 0x3F) << 6 | (at(3) & 0x3F), 4};
}

// The last character of `text`; the same requirements.
inline Utf8Char DecodeLastUtf8(std::string_view text) {
  size_t begin = text.size() - 1;
  while ((static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  return DecodeUtf8(text.substr(begin));
}

// Bytes of a character's spelling.
inline int Utf8Size(char32_t c) { return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4; }

// Requires a Unicode scalar value.
void AppendUtf8(char32_t code_point, std::string* out);

enum class Utf8Prefix { kComplete, kIncomplete, kInvalid };

// Whether the bytes (1 to 4) are one well-formed character, the proper prefix of one, or neither.
// Surrogates, overlong forms and what is beyond U+10FFFF are invalid from their second byte on.
Utf8Prefix ClassifyUtf8(const uint8_t* bytes, int size);

}  // namespace mneme::loader::tokenizer_internal

#endif  // MNEME_LOADER_TOKENIZER_UTF8_H_
