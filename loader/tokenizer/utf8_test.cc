#include "loader/tokenizer/utf8.h"

#include "gtest/gtest.h"
#include "loader/text/text.h"

namespace mneme::loader::tokenizer_internal {
namespace {

TEST(Utf8Test, EveryScalarValueRoundTrips) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text = "a";
    AppendUtf8(c, &text);
    ASSERT_EQ(FirstInvalidUtf8(text), -1);
    const std::string_view character = std::string_view(text).substr(1);
    ASSERT_EQ(DecodeUtf8(character).code_point, c);
    ASSERT_EQ(DecodeUtf8(character).size, character.size());
    ASSERT_EQ(DecodeLastUtf8(text).code_point, c);
    ASSERT_EQ(Utf8Size(c), static_cast<int>(character.size()));
    const auto* bytes = reinterpret_cast<const uint8_t*>(character.data());
    const int size = static_cast<int>(character.size());
    ASSERT_EQ(ClassifyUtf8(bytes, size), Utf8Prefix::kComplete);
    for (int i = 1; i < size; ++i) ASSERT_EQ(ClassifyUtf8(bytes, i), Utf8Prefix::kIncomplete);
  }
}

TEST(Utf8Test, IllFormedSequencesAreInvalidFromTheirFirstWrongByte) {
  const auto classify = [](std::initializer_list<uint8_t> bytes) {
    return ClassifyUtf8(bytes.begin(), static_cast<int>(bytes.size()));
  };
  EXPECT_EQ(classify({0x80}), Utf8Prefix::kInvalid);
  EXPECT_EQ(classify({0xC0}), Utf8Prefix::kInvalid);
  EXPECT_EQ(classify({0xC1}), Utf8Prefix::kInvalid);
  EXPECT_EQ(classify({0xF5}), Utf8Prefix::kInvalid);
  EXPECT_EQ(classify({0xE0, 0x9F}), Utf8Prefix::kInvalid);
  EXPECT_EQ(classify({0xED, 0xA0}), Utf8Prefix::kInvalid);
  EXPECT_EQ(classify({0xF0, 0x8F}), Utf8Prefix::kInvalid);
  EXPECT_EQ(classify({0xF4, 0x90}), Utf8Prefix::kInvalid);
  EXPECT_EQ(classify({0xE2, 0x82, 0x28}), Utf8Prefix::kInvalid);
  EXPECT_EQ(classify({0x41, 0x41}), Utf8Prefix::kInvalid);
}

}  // namespace
}  // namespace mneme::loader::tokenizer_internal
