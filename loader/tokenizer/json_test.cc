#include <string>

#include "gtest/gtest.h"
#include "loader/tokenizer/json_document.h"
#include "loader/tokenizer/json_field.h"
#include "loader/tokenizer/json_for_test.h"
#include "loader/tokenizer/message.h"

namespace mneme::loader::tokenizer_internal {
namespace {

std::string ErrorOf(std::string_view text) {
  const auto document = JsonDocument::Parse(text, "t.json");
  return document.ok() ? "" : std::string(MessageOf(document.status()));
}

TEST(JsonDocumentTest, KeepsValuesAndOrder) {
  const ParsedJson json(R"({"b":[1,-2,2.5,"x\u00e9\n"],"a":{"t":true,"n":null},"":{}})");
  const JsonValue root = json.field().value();
  ASSERT_EQ(root.kind(), JsonKind::kObject);
  EXPECT_EQ(root.count(), 3u);
  JsonValue v = root.first();
  EXPECT_EQ(v.name(), "b");
  JsonValue item = v.first();
  EXPECT_EQ(item.integer(), 1);
  item = item.next();
  EXPECT_EQ(item.integer(), -2);
  item = item.next();
  EXPECT_EQ(item.number(), 2.5);
  item = item.next();
  EXPECT_EQ(item.string(), "x\xC3\xA9\n");
  EXPECT_FALSE(item.next().exists());
  v = v.next();
  EXPECT_TRUE(v.Find("t").boolean());
  EXPECT_EQ(v.Find("n").kind(), JsonKind::kNull);
  EXPECT_FALSE(v.Find("x").exists());
  v = v.next();
  EXPECT_EQ(v.name(), "");
  EXPECT_FALSE(v.first().exists());
}

TEST(JsonDocumentTest, NumbersBeyondInt64AreNoIntegers) {
  EXPECT_EQ(ParsedJson("9223372036854775807").field().value().kind(), JsonKind::kInteger);
  EXPECT_EQ(ParsedJson("9223372036854775808").field().value().kind(), JsonKind::kNumber);
  EXPECT_EQ(ParsedJson("1.0").field().value().kind(), JsonKind::kNumber);
}

TEST(JsonDocumentTest, RefusesWhatIsNotJson) {
  for (const std::string text : {"", "{", "[1,]", "{\"a\":1}x", "\xFF", "\"\xC3\"", "\"\\ud800\"",
                                 "1e999", "nul", "{1:2}"}) {
    EXPECT_NE(ErrorOf(text).find("t.json: not JSON at byte"), std::string::npos)
        << text << ": " << ErrorOf(text);
  }
}

// Even behind a whole document, where the parser would stop reading.
TEST(JsonDocumentTest, RefusesAZeroByte) {
  EXPECT_EQ(ErrorOf(std::string("{}\0garbage", 10)), "t.json: not JSON at byte 3: a zero byte");
  EXPECT_EQ(ErrorOf(std::string("\0", 1)), "t.json: not JSON at byte 1: a zero byte");
}

TEST(JsonDocumentTest, RefusesMoreValuesThanItsLimit) {
  std::string most = "[0";  // with the array itself as many as are allowed
  for (size_t i = 2; i < JsonDocument::kMaxValues; ++i) most += ",0";
  EXPECT_EQ(ErrorOf(most + "]"), "");
  for (const std::string one_more : {",0]", ",[]]", ",\"\"]"}) {
    EXPECT_EQ(ErrorOf(most + one_more), "t.json: more than 8388608 values");
  }
}

TEST(JsonDocumentTest, RefusesDeepNesting) {
  EXPECT_EQ(ErrorOf(std::string(32, '[') + std::string(32, ']')), "");
  EXPECT_NE(ErrorOf(std::string(33, '[') + std::string(33, ']')).find("deeper than 32"),
            std::string::npos);
  EXPECT_NE(ErrorOf(std::string(10'000'000, '[')).find("deeper than 32"), std::string::npos);
}

TEST(JsonDocumentTest, RefusesTwoMembersOfOneName) {
  EXPECT_NE(ErrorOf(R"({"a":1,"b":2,"a":3})").find("two members named \"a\""), std::string::npos);
  EXPECT_EQ(ErrorOf(R"({"a":{"a":1},"b":{"a":1}})"), "");
}

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
