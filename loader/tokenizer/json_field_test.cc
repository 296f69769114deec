#include "loader/tokenizer/json_field.h"

#include <string>

#include "gtest/gtest.h"
#include "loader/json/json_document.h"
#include "loader/tokenizer/json_for_test.h"
#include "loader/tokenizer/message.h"

namespace mneme::loader::tokenizer_internal {
namespace {

TEST(JsonFieldTest, ErrorsNameFileFieldAndValue) {
  const ParsedJson json(R"({"a":[{"b":"text"},{"b":7}]})");
  std::string error;
  const auto status = json.field().Member("a").ForEach(
      [](const JsonField& f) { return f.Member("b").String().status(); });
  EXPECT_EQ(MessageOf(status), "t.json: a[1].b: expected a string, found 7");
  EXPECT_EQ(MessageOf(json.field().Member("x").Bool().status()),
            "t.json: x: expected true or false, found nothing");
  EXPECT_EQ(MessageOf(json.field().OnlyMembers({"b"})), "t.json: unknown member \"a\" = an array");
  EXPECT_EQ(MessageOf(json.field().Entry("y\n").Bool().status()),
            "t.json: [\"y\\n\"]: expected true or false, found nothing");
  EXPECT_LT(json.field().Entry(std::string(5000, 'n')).path().size(), 200u);
}

TEST(JsonFieldTest, ReadsWithinLimits) {
  const ParsedJson json(R"({"i":5,"neg":-1,"f":5.0,"s":"ab","c":"é","n":null})");
  const JsonField root = json.field();
  EXPECT_EQ(*root.Member("i").Integer(5), 5);
  EXPECT_FALSE(root.Member("i").Integer(4).ok());
  EXPECT_FALSE(root.Member("neg").Integer(5).ok());
  EXPECT_FALSE(root.Member("f").Integer(5).ok());
  EXPECT_EQ(*root.Member("c").Character(), char32_t{0xE9});
  EXPECT_FALSE(root.Member("s").Character().ok());
  EXPECT_TRUE(*root.Member("n").BoolOr(true));
  EXPECT_FALSE(root.Member("n").Bool().ok());
}

}  // namespace
}  // namespace mneme::loader::tokenizer_internal
