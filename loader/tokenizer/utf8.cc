#include "loader/tokenizer/utf8.h"

namespace mneme::loader::tokenizer_internal {

void AppendUtf8(char32_t c, std::string* out) {
  if (c < 0x80) {
    out->push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out->push_back(static_cast<char>(0xC0 | c >> 6));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else if (c < 0x10000) {
    out->push_back(static_cast<char>(0xE0 | c >> 12));
    out->push_back(static_cast<char>(0x80 | (c >> 6 & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else {
    out->push_back(static_cast<char>(0xF0 | c >> 18));
    out->push_back(static_cast<char>(0x80 | (c >> 12 & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (c >> 6 & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  }
}

Utf8Prefix ClassifyUtf8(const uint8_t* bytes, int size) {
  const uint8_t lead = bytes[0];
  if (lead < 0x80) return size == 1 ? Utf8Prefix::kComplete : Utf8Prefix::kInvalid;
  if (lead < 0xC2 || lead > 0xF4) return Utf8Prefix::kInvalid;
  const int length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (size > length) return Utf8Prefix::kInvalid;
  for (int i = 1; i < size; ++i) {
    uint8_t low = 0x80, high = 0xBF;
    if (i == 1) {
      if (lead == 0xE0) low = 0xA0;
      if (lead == 0xED) high = 0x9F;
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;
    }
    if (bytes[i] < low || bytes[i] > high) return Utf8Prefix::kInvalid;
  }
  return size == length ? Utf8Prefix::kComplete : Utf8Prefix::kIncomplete;
}

}  // namespace mneme::loader::tokenizer_internal
