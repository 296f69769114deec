#include "loader/tokenizer/known_patterns.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "gtest/gtest.h"
#include "loader/tokenizer/utf8.h"

namespace mneme::loader::tokenizer_internal {
namespace {

// Characters where the alternatives of the patterns meet, so that short strings reach every one.
constexpr char32_t kCharacters[] = {
    ' ',    ' ',    ' ',      '\'',   '\'',   's',     't',     'r',    'e',     'v',
    'm',    'l',    'd',      'S',    'a',    'Z',     '1',     '9',    '.',     '!',
    'T',    'R',    'E',      'V',    'M',    'L',     'D',     '\'',   '\n',    '\r',
    '_',    '\n',   '\r',     '\t',   0x85,   0xA0,    0x2003,  0x2028, 0x3000,  0x1680,
    0x200B, 0xFEFF, 0x180E,   0x1C,   0x1F,   0x17F,   0xE9,    0x301,  0x4E00,  0xB2,
    0xBD,   0x2167, 0x3007,   0x32BF, 0x660,  0x1C89,  0x10D40, 0x897,  0x1FAE9, 0x1F600,
    0x200D, 0x378,  0x10FFFF, 0xE000, 0x2019, 0x1D7CE, 0x2EBF0, 0x0,    0x7F,    0x20AC};

std::string RandomText(std::mt19937* random) {
  std::string text;
  const int length = static_cast<int>((*random)() % 12);
  for (int i = 0; i < length; ++i) {
    char32_t c = kCharacters[(*random)() % std::size(kCharacters)];
    if ((*random)() % 16 == 0) c = (*random)() % 0x110000;
    if (c >= 0xD800 && c < 0xE000) c = 'x';
    AppendUtf8(c, &text);
  }
  return text;
}

// Searches a pattern by hand and by Oniguruma.
class KnownPatternTest : public testing::TestWithParam<KnownPattern> {
 protected:
  void SetUp() override {
    auto regex = Regex::Compile(GetParam().regex);
    ASSERT_TRUE(regex.ok()) << regex.status();
    regex_ = std::make_unique<Regex>(*std::move(regex));
  }

  void Compare(std::string_view text) {
    ours_.clear();
    theirs_.clear();
    GetParam().find(text, &ours_);
    ASSERT_TRUE(regex_->FindAll(text, &budget_, &theirs_).ok());
    ASSERT_EQ(ours_, theirs_) << testing::PrintToString(text);
  }

  std::unique_ptr<Regex> regex_;
  SearchBudget budget_{std::chrono::hours(1)};
  std::vector<Span> ours_, theirs_;
};

TEST_P(KnownPatternTest, EqualsOnigurumaOnAMillionRandomStrings) {
  std::mt19937 random(1);
  for (int i = 0; i < 1'000'000; ++i) {
    ASSERT_NO_FATAL_FAILURE(Compare(RandomText(&random)));
  }
}

TEST_P(KnownPatternTest, EqualsOnigurumaOnEveryCharacter) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string character;
    AppendUtf8(c, &character);
    // Behind a letter, a digit, a sign and a space; before a letter and a line's end.
    const std::string text = "a" + character + "1" + character + " !" + character + "a '" +
                             character + " " + character + "\n" + character;
    ASSERT_NO_FATAL_FAILURE(Compare(text));
  }
}

TEST_P(KnownPatternTest, EqualsOnigurumaOnTheGoldenTexts) {
  int count = 0;
  for (const std::string folder : {"demo", "olmo_gpt_neox", "llama3", "qwen2", "deepseek_llm",
                                   "deepseek_v3", "llama2", "added_tokens"}) {
    std::ifstream file("loader/tokenizer/testdata/" + folder + "/cases.jsonl");
    for (std::string line; std::getline(file, line);) {
      const nlohmann::json c = nlohmann::json::parse(line);
      if (!c.contains("text")) continue;
      ++count;
      ASSERT_NO_FATAL_FAILURE(Compare(c.at("text").get<std::string>()));
    }
  }
  EXPECT_GT(count, 3000);
}

// Linear: the engine would need 10^12 steps for the last pattern, and gives up on all of them.
TEST_P(KnownPatternTest, HasNoLimit) {
  std::vector<Span> spans;
  GetParam().find(std::string(30'000'000, ' ') + "\xF0\x9F\x99\x82", &spans);
  EXPECT_LE(spans.size(), 2u);
}

INSTANTIATE_TEST_SUITE_P(Patterns, KnownPatternTest,
                         testing::ValuesIn(KnownPatterns().begin(), KnownPatterns().end()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(KnownPatternsTest, AreFoundByTheirExactText) {
  for (const KnownPattern& known : KnownPatterns()) {
    EXPECT_EQ(FindKnownPattern(known.regex), known.find);
    EXPECT_EQ(FindKnownPattern(std::string(known.regex) + " "), nullptr);
  }
  EXPECT_EQ(FindKnownPattern(kGpt2Pattern), FindGpt2);
  EXPECT_EQ(FindKnownPattern(""), nullptr);
}

// But the last, which looks for places, they divide all of a text.
TEST(KnownPatternsTest, MatchesCoverTheText) {
  for (const KnownPattern& known : KnownPatterns().first(3)) {
    std::mt19937 random(2);
    for (int i = 0; i < 10'000; ++i) {
      const std::string text = RandomText(&random);
      std::vector<Span> spans;
      known.find(text, &spans);
      uint32_t end = 0;
      for (const Span& span : spans) {
        ASSERT_EQ(span.begin, end);
        ASSERT_GT(span.end, span.begin);
        end = span.end;
      }
      ASSERT_EQ(end, text.size());
    }
  }
}

// The published spellings; a slip in one of ours would leave the engine at work, unnoticed.
TEST(KnownPatternsTest, AreThoseOfTheGoldenFiles) {
  const std::pair<const char*, size_t> kFiles[] = {
      {"llama3", 1}, {"qwen2", 2}, {"deepseek_llm", 3}};
  for (const auto& [folder, index] : kFiles) {
    std::ifstream file("loader/tokenizer/testdata/" + std::string(folder) + "/tokenizer.json");
    const nlohmann::json tokenizer = nlohmann::json::parse(file);
    bool found = false;
    for (const auto& step : tokenizer.at("pre_tokenizer").at("pretokenizers")) {
      found |= step.at("type") == "Split" &&
               step.at("pattern").at("Regex") == std::string(KnownPatterns()[index].regex);
    }
    EXPECT_TRUE(found) << folder;
  }
}

}  // namespace
}  // namespace mneme::loader::tokenizer_internal
