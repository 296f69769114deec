#include "loader/families/config_fields.h"

#include <string>

#include "gtest/gtest.h"
#include "loader/families/yaml_section.h"

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

}  // namespace
}  // namespace mneme::loader
