#include "loader/json/json_document.h"

#include <string>

#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

std::string ErrorOf(std::string_view text) {
  const auto document = JsonDocument::Parse(text, "t.json");
  return document.ok() ? "" : std::string(document.status().message());
}

TEST(JsonDocumentTest, KeepsValuesAndOrder) {
  const auto json = JsonDocument::Parse(
      R"({"b":[1,-2,2.5,"x\u00e9\n"],"a":{"t":true,"n":null},"":{}})", "t.json");
  ASSERT_TRUE(json.ok()) << json.status();
  const JsonValue root = json->root();
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

JsonKind KindOf(std::string_view text) {
  const auto document = JsonDocument::Parse(text, "t.json");
  return document.ok() ? document->root().kind() : JsonKind::kNull;
}

TEST(JsonDocumentTest, NumbersBeyondInt64AreNoIntegers) {
  EXPECT_EQ(KindOf("9223372036854775807"), JsonKind::kInteger);
  EXPECT_EQ(KindOf("9223372036854775808"), JsonKind::kNumber);
  EXPECT_EQ(KindOf("1.0"), JsonKind::kNumber);
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

}  // namespace
}  // namespace mneme::loader
