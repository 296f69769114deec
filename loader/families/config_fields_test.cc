#include "loader/families/config_fields.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "loader/families/yaml_section.h"
#include "loader/text/text.h"

namespace mneme::loader {
namespace {

// Fields of one key `f` with this plain YAML value.
ConfigFields Fields(const std::string& value) {
  auto section = ReadYamlSection("model:\n  f: " + value + "\n", "c.yaml", "model");
  EXPECT_TRUE(section.ok()) << section.status();
  return ConfigFields("c.yaml", "model", *std::move(section));
}

TEST(ConfigFieldsTest, ReadsEachType) {
  EXPECT_EQ(Fields("12").Int("f", 7, {1, 20}), 12);
  EXPECT_EQ(Fields("12").Int("g", 7, {1, 20}), 7);
  EXPECT_TRUE(Fields("yes").Bool("f", false));
  EXPECT_FALSE(Fields("False").Bool("f", true));
  EXPECT_EQ(Fields("1e-5").Positive("f", 1.0, 1.0), 1e-5);
  EXPECT_EQ(Fields("rms").Choice("f", "default", {"default", "rms"}), "rms");
  EXPECT_EQ(Fields("null").OptionalInt("f", {0, 9}), std::nullopt);
  EXPECT_EQ(Fields("3").OptionalInt("f", {0, 9}), 3);
  EXPECT_EQ(Fields("~").OptionalBool("f"), std::nullopt);
  EXPECT_EQ(Fields("2.5").OptionalPositive("f", 10), 2.5);
}

TEST(ConfigFieldsTest, SaysWhatIsWrongAndWhere) {
  const auto int_error = [](const std::string& value) {
    ConfigFields fields = Fields(value);
    fields.Int("f", 7, {1, 20});
    return std::string(fields.status().message());
  };
  EXPECT_EQ(int_error("21"), "c.yaml: model.f (line 2): 21 is not in [1, 20]");
  EXPECT_EQ(int_error("-3"), "c.yaml: model.f (line 2): -3 is not in [1, 20]");
  EXPECT_EQ(int_error("1.5"), "c.yaml: model.f (line 2): expected a whole number, not \"1.5\"");
  EXPECT_EQ(int_error("99999999999999999999"),
            "c.yaml: model.f (line 2): expected a whole number, not \"99999999999999999999\"");
  EXPECT_EQ(int_error("null"), "c.yaml: model.f (line 2): is null");
  EXPECT_EQ(int_error("[1]"), "c.yaml: model.f (line 2): expected one value, not a collection");

  ConfigFields truth = Fields("1");
  truth.Bool("f", false);
  EXPECT_EQ(truth.status().message(),
            "c.yaml: model.f (line 2): expected true or false, not \"1\"");
  ConfigFields choice = Fields("cosine");
  choice.Choice("f", "default", {"default", "rms"});
  EXPECT_EQ(choice.status().message(),
            "c.yaml: model.f (line 2): \"cosine\" is not served; served are: default, rms");
}

TEST(ConfigFieldsTest, NumbersArePositiveAndFinite) {
  for (const char* wrong : {"0", "-1", "inf", "nan", "1e999", "text", "2.5"}) {
    ConfigFields fields = Fields(wrong);
    fields.Positive("f", 1.0, 2.0);
    EXPECT_FALSE(fields.status().ok()) << wrong;
  }
}

TEST(ConfigFieldsTest, TheFirstErrorIsKept) {
  ConfigFields fields = Fields("x");
  fields.Int("f", 1, {1, 2});
  fields.Refuse("g", "later");
  EXPECT_EQ(fields.status().message(),
            "c.yaml: model.f (line 2): expected a whole number, not \"x\"");
}

TEST(ConfigFieldsTest, KnowsWhatNobodyRead) {
  ConfigFields fields("c.yaml", "model",
                      {{"read", {}}, {"ignored", {}}, {"unread", {}}, {"null", {}}});
  fields.OptionalInt("read", {0, 1});
  fields.Ignore("ignored");
  EXPECT_TRUE(fields.is_null("null"));
  EXPECT_EQ(fields.Unread(), (std::set<std::string>{"null", "unread"}));
}

TEST(ConfigFieldsTest, RefusesAllThatNobodyRead) {
  ConfigFields fields("c.json", "", {{"read", {}}, {"a", {}}, {"b", {}}, {"c", {}}, {"d", {}}});
  fields.OptionalInt("read", {0, 1});
  ConfigFields others = fields;
  fields.RefuseUnread({"b"}, "");
  EXPECT_EQ(fields.status().message(),
            "c.json: a: unknown key; if it changes nothing, --ignore-config-key \"a\" accepts it; "
            "unknown as well: \"c\" and \"d\"");
  ConfigFields prefixed = others;
  prefixed.RefuseUnread({"o.a", "o.b", "o.d"}, "o.");
  EXPECT_EQ(
      prefixed.status().message(),
      "c.json: c: unknown key; if it changes nothing, --ignore-config-key o.\"c\" accepts it");
  others.RefuseUnread({"a", "b", "c", "d", "not there"}, "");
  EXPECT_TRUE(others.status().ok()) << others.status();
  // What is accepted without a look at it may be named, what is read may not.
  others.Ignore("d");
  others.RefuseUnread({"a", "b", "c", "d"}, "");
  EXPECT_TRUE(others.status().ok()) << others.status();
  others.RefuseUnread({"a", "b", "c", "d", "read"}, "");
  EXPECT_EQ(others.status().message(),
            "c.json: read: --ignore-config-key: this key is read, it cannot be ignored");
}

TEST(ConfigFieldsTest, NamesAFewOfManyUnknownKeys) {
  ConfigSection section;
  for (int i = 1000; i < 2000; ++i) section[std::to_string(i) + std::string(200, 'k')] = {};
  ConfigFields fields("c.json", "", section);
  fields.RefuseUnread({}, "");
  EXPECT_THAT(std::string(fields.status().message()), testing::EndsWith(" and 996 more"));
  EXPECT_LE(fields.status().message().size(), kMaxMessageBytes);
}

}  // namespace
}  // namespace mneme::loader
