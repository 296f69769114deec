#include "loader/tokenizer/normalizer.h"

#include "gtest/gtest.h"
#include "loader/json/json_for_test.h"
#include "loader/tokenizer/message.h"

namespace mneme::loader::tokenizer_internal {
namespace {

std::string Normalized(const std::string& json, std::string text) {
  const auto normalizer = Normalizer::Build(ParsedJson(json).field());
  EXPECT_TRUE(normalizer.ok()) << normalizer.status();
  SearchBudget budget;
  const absl::Status status = normalizer->Normalize(&budget, &text);
  EXPECT_TRUE(status.ok()) << status;
  return text;
}

std::string ErrorOf(const std::string& json) {
  const auto normalizer = Normalizer::Build(ParsedJson(json).field());
  return normalizer.ok() ? "" : std::string(MessageOf(normalizer.status()));
}

TEST(NormalizerTest, Steps) {
  EXPECT_EQ(Normalized("null", "a b"), "a b");
  EXPECT_EQ(Normalized(R"({"type":"NFC"})", "e\xCC\x81"), "\xC3\xA9");
  EXPECT_EQ(Normalized(R"({"type":"Prepend","prepend":"_"})", " a"), "_ a");
  EXPECT_EQ(Normalized(R"({"type":"Prepend","prepend":"_"})", ""), "");
  EXPECT_EQ(Normalized(R"({"type":"Replace","pattern":{"String":"aa"},"content":"b"})", "aaaaa"),
            "bba");
  EXPECT_EQ(Normalized(R"({"type":"Replace","pattern":{"Regex":" {2,}"},"content":" "})", "a   b"),
            "a b");
  EXPECT_EQ(Normalized(R"({"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"_"},
                {"type":"Replace","pattern":{"String":" "},"content":"_"}]})",
                       "a b"),
            "_a_b");
  EXPECT_EQ(Normalized(R"({"type":"Sequence","normalizers":[]})", "a"), "a");
}

// The part of the result that comes from the input's first character.
std::string Leading(const std::string& json, std::string text, size_t leading = 1) {
  const auto normalizer = Normalizer::Build(ParsedJson(json).field());
  EXPECT_TRUE(normalizer.ok()) << normalizer.status();
  SearchBudget budget;
  EXPECT_TRUE(normalizer->Normalize(&budget, &text, &leading).ok());
  return text.substr(0, leading);
}

// As `tokenizers` 0.23.3 aligns what it rewrites.
TEST(NormalizerTest, LeadingIsWhatComesFromTheFirstCharacter) {
  const auto replace = [](const std::string& pattern, const std::string& content) {
    return R"({"type":"Replace","pattern":{"Regex":")" + pattern + R"("},"content":")" + content +
           "\"}";
  };
  EXPECT_EQ(Leading("null", "ab"), "a");
  EXPECT_EQ(Leading(replace("a", "xy"), "ab"), "xy");
  EXPECT_EQ(Leading(replace("b", "xy"), "ab"), "a");
  EXPECT_EQ(Leading(replace("`+", "x"), "``a"), "");  // from the second "`"
  EXPECT_EQ(Leading(replace("`+", "x"), "`a"), "x");
  EXPECT_EQ(Leading(replace("^ +", ""), " a"), "");
  EXPECT_EQ(Leading(replace("^", "x"), "ab"), "xa");
  EXPECT_EQ(Leading(replace("(?=b)", "x"), "ab"), "ax");
  EXPECT_EQ(Leading(replace("b", "x"), "abab", 3), "axa");
  EXPECT_EQ(Leading(replace("bab", "x"), "abab", 3), "a");
  EXPECT_EQ(Leading(replace("^", "x"), "ab", 0), "x");
  EXPECT_EQ(Leading(R"({"type":"Prepend","prepend":"__"})", "ab"), "__a");
  EXPECT_EQ(Leading(R"({"type":"Prepend","prepend":"_"})", "ab", 0), "");
  EXPECT_EQ(Leading(R"({"type":"Prepend","prepend":""})", "ab", 0), "a");
  EXPECT_EQ(Leading(R"({"type":"Prepend","prepend":""})", "ab", 2), "ab");
  EXPECT_EQ(Leading(R"({"type":"NFC"})", "e\xCC\x81x"), "\xC3\xA9");
}

TEST(NormalizerTest, RefusesByName) {
  for (const std::string name : {"NFD", "NFKC", "Lowercase", "Strip", "BertNormalizer", "Nmt",
                                 "Precompiled", "ByteLevel", "StripAccents", "?"}) {
    EXPECT_EQ(ErrorOf("{\"type\":\"" + name + "\"}"),
              "t.json: the normalizer \"" + name +
                  "\" is not supported; supported: NFC, Prepend, Replace, Sequence");
  }
  EXPECT_NE(ErrorOf(R"({"type":"NFC","form":"C"})").find("\"form\""), std::string::npos);
  EXPECT_NE(ErrorOf(R"({"type":"Prepend"})").find("prepend: expected a string"), std::string::npos);
  EXPECT_NE(ErrorOf(R"({"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"NFD"}]})")
                .find("normalizers[1]: the normalizer \"NFD\""),
            std::string::npos);
  EXPECT_NE(ErrorOf("[]").find("expected an object"), std::string::npos);
}

TEST(NormalizerTest, HasAtMost64Steps) {
  // Half of them in a sequence of their own.
  const auto steps = [](int outer) {
    std::string inner, json;
    for (int i = 0; i < 32; ++i) inner += std::string(i > 0 ? "," : "") + R"({"type":"NFC"})";
    for (int i = 0; i < outer; ++i) json += R"(,{"type":"NFC"})";
    return R"({"type":"Sequence","normalizers":[{"type":"Sequence","normalizers":[)" + inner +
           "]}" + json + "]}";
  };
  EXPECT_EQ(ErrorOf(steps(32)), "");
  EXPECT_EQ(ErrorOf(steps(33)), "t.json: normalizers[33]: step 65; at most 64 are supported");
}

TEST(NormalizerTest, ATextThatGrowsTooLongIsAnError) {
  const std::string content(1 << 20, 'x');
  const auto normalizer = Normalizer::Build(
      ParsedJson(R"({"type":"Replace","pattern":{"String":"a"},"content":")" + content + "\"}")
          .field());
  ASSERT_TRUE(normalizer.ok());
  std::string text(1 << 12, 'a');
  SearchBudget budget;
  EXPECT_EQ(normalizer->Normalize(&budget, &text).code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace mneme::loader::tokenizer_internal
