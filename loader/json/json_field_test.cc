#include "loader/json/json_field.h"

#include <string>

#include "gtest/gtest.h"
#include "loader/json/json_document.h"
#include "loader/json/json_for_test.h"

namespace mneme::loader {
namespace {

std::string MessageOf(const absl::Status& status) { return std::string(status.message()); }

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

TEST(JsonFieldTest, UnknownMembersThatAreOffAreNone) {
  const ParsedJson off(R"({"a":1,"b":null,"c":false,"d":0,"e":0.0,"f":"","g":[],"h":{}})");
  EXPECT_TRUE(off.field().OnlyMembers({"a"}).ok());
  for (const char* value : {"true", "1", "-1", "0.5", "\" \"", "[0]", "{\"x\":null}"}) {
    const ParsedJson json("{\"a\":1,\"b\":" + std::string(value) + "}");
    EXPECT_NE(MessageOf(json.field().OnlyMembers({"a"})).find("unknown member \"b\""),
              std::string::npos)
        << value;
  }
}

TEST(JsonFieldTest, ShowsAnObjectsFirstMembers) {
  const ParsedJson json(R"({"a":1,"b":"x\n","c":[1],"d":null})");
  EXPECT_EQ(json.field().Text(), R"({"a": 1, "b": "x\n", "c": an array, "d": null})");
  EXPECT_EQ(json.field().Member("b").Text(), R"("x\n")");
  std::string members = "\"0\":0";
  for (int i = 1; i < 1000; ++i) members += ",\"" + std::to_string(i) + "\":0";
  const std::string text = ParsedJson("{" + members + "}").field().Text();
  EXPECT_LT(text.size(), 350u);
  EXPECT_EQ(text.substr(text.size() - 5), " ...}");
}

TEST(JsonFieldTest, ReadsWithinLimits) {
  const ParsedJson json(R"({"i":5,"neg":-1,"f":5.0,"n":null})");
  const JsonField root = json.field();
  EXPECT_EQ(*root.Member("i").Integer(5), 5);
  EXPECT_FALSE(root.Member("i").Integer(4).ok());
  EXPECT_FALSE(root.Member("neg").Integer(5).ok());
  EXPECT_FALSE(root.Member("f").Integer(5).ok());
  EXPECT_TRUE(*root.Member("n").BoolOr(true));
  EXPECT_FALSE(root.Member("n").Bool().ok());
}

}  // namespace
}  // namespace mneme::loader
