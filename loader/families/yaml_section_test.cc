#include "loader/families/yaml_section.h"

#include <chrono>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

using testing::HasSubstr;

absl::StatusOr<ConfigSection> Read(const std::string& text) {
  return ReadYamlSection(text, "c.yaml", "model");
}

std::string Error(const std::string& text) {
  const auto section = Read(text);
  EXPECT_EQ(section.status().code(), absl::StatusCode::kInvalidArgument) << text.substr(0, 200);
  EXPECT_LT(section.status().message().size(), 500u);
  return std::string(section.status().message());
}

std::string Repeat(const std::string& text, int times) {
  std::string repeated;
  for (int i = 0; i < times; ++i) repeated += text;
  return repeated;
}

TEST(YamlSectionTest, ReadsScalarsOfOneSection) {
  const auto section = Read(
      "run_name: x\nmodel:\n  a: 1\n  b: \"two\"\n  c: null\n  d: ~\n  e:\n  f: \"null\"\n"
      "  g: [1, {h: 2}]\n  k: 0:2/1:3\nother: {model: 3, a: [4]}\n");
  ASSERT_TRUE(section.ok()) << section.status();
  ASSERT_EQ(section->size(), 8u);
  EXPECT_EQ(section->at("a").text, "1");
  EXPECT_EQ(section->at("a").line, 3);
  EXPECT_EQ(section->at("b").text, "two");
  for (const char* null : {"c", "d", "e"}) {
    EXPECT_EQ(section->at(null).kind, ConfigValue::Kind::kNull) << null;
  }
  EXPECT_EQ(section->at("f").kind, ConfigValue::Kind::kScalar);
  EXPECT_EQ(section->at("g").kind, ConfigValue::Kind::kCollection);
  EXPECT_EQ(section->at("k").text, "0:2/1:3");
}

TEST(YamlSectionTest, AnAliasOfAScalarIsThatScalar) {
  const auto section = Read("w: &w 64\nl: &l [1]\nmodel: {a: *w, b: *l}\n");
  ASSERT_TRUE(section.ok()) << section.status();
  EXPECT_EQ(section->at("a").text, "64");
  EXPECT_EQ(section->at("b").kind, ConfigValue::Kind::kCollection);
}

TEST(YamlSectionTest, RefusesWhatIsNoConfig) {
  EXPECT_EQ(Error(""), "c.yaml: no top-level key \"model\"");
  EXPECT_EQ(Error("- model\n"), "c.yaml: no top-level key \"model\"");
  EXPECT_EQ(Error("just text"), "c.yaml: no top-level key \"model\"");
  EXPECT_EQ(Error("x:\n  model:\n    a: 1\n"), "c.yaml: no top-level key \"model\"");
  EXPECT_EQ(Error("model: 3\n"), "c.yaml: line 1: \"model\" is no mapping");
  EXPECT_EQ(Error("model:\n  - a\n"), "c.yaml: line 2: \"model\" is no mapping");
  EXPECT_EQ(Error("x: &x {a: 1}\nmodel: *x\n"), "c.yaml: line 2: \"model\" is no mapping");
  EXPECT_EQ(Error("model: {a: 1, a: 2}\n"), "c.yaml: line 1: duplicate key \"a\" under \"model\"");
  EXPECT_EQ(Error("model: {a: 1}\nmodel: {b: 2}\n"), "c.yaml: line 2: duplicate key \"model\"");
  EXPECT_EQ(Error("model: {[1]: 2}\n"), "c.yaml: line 1: a collection is used as a key");
  EXPECT_EQ(Error("model: {a: 1}\n---\nmodel: {a: 2}\n"), "c.yaml: more than one YAML document");
  EXPECT_EQ(Error("model:\n  a: \xff\n"), "c.yaml: not UTF-8 at byte 12");
  EXPECT_EQ(Error(std::string("model:\n  a: \0x\n", 15)), "c.yaml: zero byte at byte 12");
  EXPECT_THAT(Error("model:\n  a: b: c\n"), HasSubstr("c.yaml: line 2: not YAML"));
  EXPECT_THAT(Error("model: {a: 1"), HasSubstr("not YAML"));
  EXPECT_THAT(Error("model: *nowhere\n"), HasSubstr("not YAML"));
}

TEST(YamlSectionTest, DeepNestingIsRefused) {
  for (const char* open : {"[", "{a: ", "- ", "? "}) {
    EXPECT_THAT(Error("model: {a: 1}\nx:\n  " + Repeat(open, 100'000)), HasSubstr("not YAML"))
        << open;
  }
}

TEST(YamlSectionTest, AliasesDoNotMultiply) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 60; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + Repeat(before + ", ", 8) +
            before + "]\n";
  }
  const auto section = Read(bomb + "model: {b: *a59}\n");
  ASSERT_TRUE(section.ok()) << section.status();
  EXPECT_EQ(section->at("b").kind, ConfigValue::Kind::kCollection);
}

TEST(YamlSectionTest, TimeIsLinear) {
  const auto start = std::chrono::steady_clock::now();
  std::string wide = "model:\n";
  for (int i = 0; i < 100'000; ++i)
    wide += "  k" + std::to_string(i) + ": " + std::to_string(i) + "\n";
  EXPECT_TRUE(Read(wide).ok());
  EXPECT_TRUE(Read("x: [" + Repeat("a, ", 300'000) + "a]\nmodel: {a: 1}\n").ok());
  EXPECT_TRUE(Read("x: " + std::string(2'000'000, 'y') + "\nmodel: {a: 1}\n").ok());
  EXPECT_TRUE(Read(Repeat("#\n", 500'000) + "model: {a: 1}\n").ok());
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  // About a second; a quadratic reader would need hours.
  EXPECT_LT(took.count(), 120.0);
}

}  // namespace
}  // namespace mneme::loader
