// Every class on every character, against Oniguruma 6.9.10, which is of Unicode 16: how many
// characters match, and the sum of their numbers.
#include "loader/tokenizer/regex_encoding.h"

#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "loader/tokenizer/regex.h"
#include "loader/tokenizer/utf8.h"

namespace mneme::loader::tokenizer_internal {
namespace {

std::string EveryCharacter() {
  std::string text;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c < 0xD800 || c >= 0xE000) AppendUtf8(c, &text);
  }
  return text;
}

struct Expected {
  const char* pattern;
  int count;
  int64_t sum;
};

constexpr Expected kExpected[] = {{R"([[:alnum:]])", 143519, 15354313357},
                                  {R"([[:alpha:]])", 142759, 15314421907},
                                  {R"([[:ascii:]])", 128, 8128},
                                  {R"([[:blank:]])", 18, 124942},
                                  {R"([[:cntrl:]])", 65, 5215},
                                  {R"([[:digit:]])", 760, 39891450},
                                  {R"([[:graph:]])", 292447, 154231711121},
                                  {R"([[:lower:]])", 2569, 117919901},
                                  {R"([[:print:]])", 292464, 154231836054},
                                  {R"([[:punct:]])", 9369, 649005466},
                                  {R"([[:space:]])", 25, 141586},
                                  {R"([[:upper:]])", 1978, 97237165},
                                  {R"([[:word:]])", 144665, 15621628979},
                                  {R"([[:xdigit:]])", 22, 1527},
                                  {R"([[:^punct:]])", 1102695, 619857869414},
                                  {R"([^[:punct:]])", 1102695, 619857869414},
                                  {R"([^[:^punct:]a])", 9369, 649005466},
                                  {R"([[:punct:]&&[^$+]])", 9367, 649005387},
                                  {R"((?i)[[:punct:]])", 9369, 649005466},
                                  {R"((?i)[^[:punct:]])", 1102695, 619857869414},
                                  {R"((?P)[[:punct:]])", 32, 2086},
                                  {R"((?P)[[:alpha:]])", 52, 4862},
                                  {R"((?P)[[:^alpha:]])", 1112012, 620506870018},
                                  {R"((?D)\D)", 1112054, 620506874355},
                                  {R"(\p{Punct})", 855, 28835015},
                                  {R"(\p{Punctuation})", 855, 28835015},
                                  {R"(\P{Punct})", 1111209, 620478039865},
                                  {R"(\p{^Punct})", 1111209, 620478039865},
                                  {R"(\p{PosixPunct})", 9369, 649005466},
                                  {R"(\p{Posix_Punct})", 9369, 649005466},
                                  {R"(\P{PosixPunct})", 1102695, 619857869414},
                                  {R"(\d)", 760, 39891450},
                                  {R"(\D)", 1111304, 620466983430},
                                  {R"([\d])", 760, 39891450},
                                  {R"([^\d])", 1111304, 620466983430},
                                  {R"(\w)", 144671, 15621630088},
                                  {R"(\W)", 967393, 604885244792},
                                  {R"([\w])", 144665, 15621628979},
                                  {R"([\W])", 967399, 604885245901},
                                  {R"(\p{Alpha})", 142759, 15314421907},
                                  {R"(\p{Alphabetic})", 142759, 15314421907},
                                  {R"(\p{Upper})", 1978, 97237165},
                                  {R"(\p{Uppercase})", 1978, 97237165},
                                  {R"(\p{Lower})", 2569, 117919901},
                                  {R"(\p{Lowercase})", 2569, 117919901},
                                  {R"(\p{Word})", 144671, 15621630088},
                                  {R"(\p{Alnum})", 143519, 15354313357},
                                  {R"(\p{Graph})", 292447, 154231711121},
                                  {R"(\p{Print})", 292464, 154231836054},
                                  {R"(\p{Digit})", 760, 39891450},
                                  {R"(\p{C})", 957236, 604189375390},
                                  {R"(\p{Cn})", 819533, 466275017146},
                                  {R"(\p{Cf})", 170, 92312063},
                                  {R"(\p{LC})", 4147, 191857994},
                                  {R"(\p{Cased_Letter})", 4147, 191857994},
                                  {R"(\p{Assigned})", 292531, 154231857734},
                                  {R"(\P{Assigned})", 819533, 466275017146},
                                  {R"(\p{Unassigned})", 819533, 466275017146},
                                  {R"(\p{L})", 141028, 15240929258},
                                  {R"(\p{Letter})", 141028, 15240929258},
                                  {R"(\p{Nd})", 760, 39891450},
                                  {R"(\p{Decimal_Number})", 760, 39891450},
                                  {R"(\p{Han})", 99030, 12573883150},
                                  {R"(\p{So})", 7376, 603692227},
                                  {R"(\p{Lt})", 31, 220514},
                                  {R"(\p{M})", 2501, 316771473},
                                  {R"(\p{N})", 1911, 110651895},
                                  {R"(\p{P})", 855, 28835015},
                                  {R"(\p{S})", 8514, 620170451},
                                  {R"(\p{Z})", 19, 141398},
                                  {R"(\N)", 1112063, 620506874870},
                                  {R"(\O)", 1112064, 620506874880}};

TEST(RegexEncodingTest, ClassesAreThoseOfUnicode16OnEveryCharacter) {
  const std::string text = EveryCharacter();
  for (const Expected& expected : kExpected) {
    const auto regex = Regex::Compile(expected.pattern);
    ASSERT_TRUE(regex.ok()) << regex.status();
    std::vector<Span> matches;
    SearchBudget budget{std::chrono::hours(1)};
    const absl::Status status = regex->FindAll(text, &budget, &matches);
    ASSERT_TRUE(status.ok()) << status;
    int64_t sum = 0;
    for (const Span& match : matches) {
      const Utf8Char c = DecodeUtf8(std::string_view(text).substr(match.begin));
      ASSERT_EQ(match.end - match.begin, c.size) << expected.pattern;
      sum += c.code_point;
    }
    EXPECT_EQ(static_cast<int>(matches.size()), expected.count) << expected.pattern;
    EXPECT_EQ(sum, expected.sum) << expected.pattern;
  }
}

// \b asks for single characters where a class asks for ranges.
TEST(RegexEncodingTest, WordBoundariesAreThoseOfWordCharacters) {
  const auto boundary = Regex::Compile("\\b.");
  const auto word = Regex::Compile("\\w");
  ASSERT_TRUE(boundary.ok() && word.ok());
  SearchBudget budget{std::chrono::hours(1)};
  for (char32_t c = 0x20; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    AppendUtf8(c, &text);
    std::vector<Span> boundaries, words;
    ASSERT_TRUE(boundary->FindAll(text, &budget, &boundaries).ok());
    ASSERT_TRUE(word->FindAll(text, &budget, &words).ok());
    ASSERT_EQ(boundaries, words) << std::hex << static_cast<uint32_t>(c);
  }
}

// Ranges are made when a pattern first asks.
TEST(RegexEncodingTest, PatternsAreCompiledByManyThreads) {
  std::vector<std::thread> threads;
  std::vector<int> ok(8);
  for (size_t i = 0; i < ok.size(); ++i) {
    threads.emplace_back(
        [&ok, i] { ok[i] = Regex::Compile("[\\p{Sk}\\p{Pf}[:graph:]]\\p{Ps}\\P{Zl}").ok(); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ok, std::vector<int>(8, 1));
}

}  // namespace
}  // namespace mneme::loader::tokenizer_internal
