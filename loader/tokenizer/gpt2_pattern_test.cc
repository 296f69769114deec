#include "loader/tokenizer/gpt2_pattern.h"

#include <random>

#include "gtest/gtest.h"
#include "loader/tokenizer/utf8.h"

namespace mneme::loader::tokenizer_internal {
namespace {

// Characters where the alternatives of the pattern meet, so that short strings reach every one.
constexpr char32_t kCharacters[] = {
    ' ',    ' ',    ' ',      '\'',   '\'',   's',     't',     'r',    'e',     'v',
    'm',    'l',    'd',      'S',    'a',    'Z',     '1',     '9',    '.',     '!',
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

TEST(Gpt2PatternTest, EqualsOnigurumaOnAMillionRandomStrings) {
  const auto regex = Regex::Compile(kGpt2Pattern);
  ASSERT_TRUE(regex.ok());
  std::mt19937 random(1);
  std::vector<Span> ours, theirs;
  SearchBudget budget(SearchBudget::Clock::now() + std::chrono::hours(1));
  for (int i = 0; i < 1'000'000; ++i) {
    const std::string text = RandomText(&random);
    ours.clear();
    theirs.clear();
    FindGpt2(text, &ours);
    ASSERT_TRUE(regex->FindAll(text, &budget, &theirs).ok());
    ASSERT_EQ(ours, theirs) << testing::PrintToString(text);
  }
}

TEST(Gpt2PatternTest, EqualsOnigurumaOnEveryCharacter) {
  const auto regex = Regex::Compile(kGpt2Pattern);
  ASSERT_TRUE(regex.ok());
  SearchBudget budget(SearchBudget::Clock::now() + std::chrono::hours(1));
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text = "a";
    AppendUtf8(c, &text);
    text += "1";
    AppendUtf8(c, &text);
    text += " !";
    AppendUtf8(c, &text);
    std::vector<Span> ours, theirs;
    FindGpt2(text, &ours);
    ASSERT_TRUE(regex->FindAll(text, &budget, &theirs).ok());
    ASSERT_EQ(ours, theirs) << std::hex << static_cast<uint32_t>(c);
  }
}

TEST(Gpt2PatternTest, MatchesCoverTheText) {
  std::mt19937 random(2);
  for (int i = 0; i < 10'000; ++i) {
    const std::string text = RandomText(&random);
    std::vector<Span> spans;
    FindGpt2(text, &spans);
    uint32_t end = 0;
    for (const Span& span : spans) {
      ASSERT_EQ(span.begin, end);
      ASSERT_GT(span.end, span.begin);
      end = span.end;
    }
    ASSERT_EQ(end, text.size());
  }
}

}  // namespace
}  // namespace mneme::loader::tokenizer_internal
