#include "loader/tokenizer/byte_level.h"

#include <array>

#include "loader/tokenizer/utf8.h"

namespace mneme::loader::tokenizer_internal {

namespace {

struct Tables {
  std::array<uint16_t, 256> character;
  std::array<int16_t, 0x144> byte;  // U+0143 is the last character used
};

constexpr bool StandsForItself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr Tables MakeTables() {
  Tables tables{};
  for (int16_t& byte : tables.byte) byte = -1;
  uint16_t next = 0x100;
  for (int b = 0; b < 256; ++b) {
    const uint16_t c = StandsForItself(b) ? static_cast<uint16_t>(b) : next++;
    tables.character[b] = c;
    tables.byte[c] = static_cast<int16_t>(b);
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

}  // namespace

int ByteOfCharacter(char32_t c) { return c < kTables.byte.size() ? kTables.byte[c] : -1; }

void AppendByteLevel(std::string_view bytes, std::string* out) {
  for (const char b : bytes) {
    const uint16_t c = kTables.character[static_cast<uint8_t>(b)];
    if (c < 0x80) {
      out->push_back(static_cast<char>(c));
    } else {
      out->push_back(static_cast<char>(0xC0 | c >> 6));
      out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
    }
  }
}

void AppendByteLevelDecoded(std::string_view token, std::string* out) {
  const size_t start = out->size();
  for (std::string_view rest = token; !rest.empty();) {
    const Utf8Char c = DecodeUtf8(rest);
    const int byte = ByteOfCharacter(c.code_point);
    if (byte < 0) {
      out->resize(start);
      out->append(token);
      return;
    }
    out->push_back(static_cast<char>(byte));
    rest.remove_prefix(c.size);
  }
}

}  // namespace mneme::loader::tokenizer_internal
