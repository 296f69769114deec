#include "loader/tokenizer/json_character.h"

#include <string>

#include "gtest/gtest.h"
#include "loader/json/json_for_test.h"

namespace mneme::loader::tokenizer_internal {
namespace {

TEST(JsonCharacterTest, IsOneCharacterOfAnyLength) {
  const ParsedJson json(R"({"a":"a","e":"é","s":"ab","none":"","i":5})");
  const JsonField root = json.field();
  EXPECT_EQ(*ReadCharacter(root.Member("a")), U'a');
  EXPECT_EQ(*ReadCharacter(root.Member("e")), char32_t{0xE9});
  EXPECT_EQ(ReadCharacter(root.Member("s")).status().message(),
            "t.json: s: expected a string of one character, found \"ab\"");
  EXPECT_FALSE(ReadCharacter(root.Member("none")).ok());
  EXPECT_FALSE(ReadCharacter(root.Member("i")).ok());
  EXPECT_FALSE(ReadCharacter(root.Member("missing")).ok());
}

}  // namespace
}  // namespace mneme::loader::tokenizer_internal
