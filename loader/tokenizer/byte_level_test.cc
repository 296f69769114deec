#include "loader/tokenizer/byte_level.h"

#include <set>

#include "gtest/gtest.h"
#include "loader/text/text.h"
#include "loader/tokenizer/utf8.h"

namespace mneme::loader::tokenizer_internal {
namespace {

TEST(ByteLevelTest, EveryByteHasItsOwnPrintableCharacter) {
  std::set<char32_t> characters;
  for (int byte = 0; byte < 256; ++byte) {
    std::string text;
    AppendByteLevel(std::string(1, static_cast<char>(byte)), &text);
    ASSERT_EQ(FirstInvalidUtf8(text), -1);
    const Utf8Char c = DecodeUtf8(text);
    ASSERT_EQ(c.size, text.size());
    EXPECT_GT(c.code_point, 0x20u);
    EXPECT_EQ(ByteOfCharacter(c.code_point), byte);
    characters.insert(c.code_point);
    std::string bytes;
    AppendByteLevelDecoded(text, &bytes);
    EXPECT_EQ(bytes, std::string(1, static_cast<char>(byte)));
  }
  EXPECT_EQ(characters.size(), 256u);
}

TEST(ByteLevelTest, KnownCharacters) {
  std::string text;
  AppendByteLevel(" \nA\xAD", &text);
  EXPECT_EQ(text,
            "\xC4\xA0\xC4\x8A"
            "A\xC5\x83");  // U+0120, U+010A, A, U+0143
}

TEST(ByteLevelTest, ATokenWithAnyOtherCharacterIsItself) {
  std::string bytes = "x";
  AppendByteLevelDecoded(
      "\xC3\xBC"
      "ber",
      &bytes);  // U+00FC stands for the byte FC
  EXPECT_EQ(bytes,
            "x\xFC"
            "ber");
  bytes = "x";
  AppendByteLevelDecoded("two words", &bytes);
  EXPECT_EQ(bytes, "xtwo words");
  EXPECT_EQ(ByteOfCharacter(' '), -1);
  EXPECT_EQ(ByteOfCharacter(0x144), -1);
}

}  // namespace
}  // namespace mneme::loader::tokenizer_internal
