#include "loader/tokenizer/regex.h"

#include <chrono>
#include <ctime>
#include <thread>

#include "gtest/gtest.h"
#include "loader/text/text.h"
#include "loader/tokenizer/message.h"

namespace mneme::loader::tokenizer_internal {
namespace {

std::vector<std::string> Matches(std::string_view pattern, std::string_view text) {
  const auto regex = Regex::Compile(pattern);
  EXPECT_TRUE(regex.ok()) << regex.status();
  std::vector<Span> spans;
  SearchBudget budget;
  const absl::Status status = regex->FindAll(text, &budget, &spans);
  EXPECT_TRUE(status.ok()) << status;
  std::vector<std::string> matches;
  for (const Span& span : spans)
    matches.emplace_back(text.substr(span.begin, span.end - span.begin));
  return matches;
}

using Strings = std::vector<std::string>;

TEST(RegexTest, OnigurumaSyntax) {
  EXPECT_EQ(Matches("^a|b$", "ab\nab"), (Strings{"a", "b", "a", "b"}));
  EXPECT_EQ(Matches("[a-z&&[^b]]+", "abc"), (Strings{"a", "c"}));
  EXPECT_EQ(Matches("(?i:'s)", "'S'\xC5\xBF"), (Strings{"'S", "'\xC5\xBF"}));
  EXPECT_EQ(Matches("\\N", "N\n\xC3\xA9"), (Strings{"N", "\xC3\xA9"}));
  EXPECT_EQ(Matches("\\O", "O\n"), (Strings{"O", "\n"}));
  EXPECT_EQ(Matches("(?W:\\w)\\w", "a\xC3\xA9 \xC3\xA9 a"), (Strings{"a\xC3\xA9"}));
  EXPECT_EQ(Matches("(?<=a+)b", "b ab"), (Strings{"b"}));
  EXPECT_EQ(Matches("(?y{g})\\X", "e\xCC\x81-"), (Strings{"e\xCC\x81", "-"}));
  EXPECT_EQ(Matches("\\s", "\xE1\xA0\x8E\xE2\x80\x8B\xC2\x85"), (Strings{"\xC2\x85"}));
}

TEST(RegexTest, EmptyMatchesDoNotRepeatTheEndOfTheOneBefore) {
  EXPECT_EQ(Matches("a*", "baac"), (Strings{"", "aa", ""}));
  EXPECT_EQ(Matches("", "é"), (Strings{"", ""}));
}

// The library looks for nothing in an empty text.
TEST(RegexTest, AnEmptyTextHasNoMatch) {
  for (const std::string pattern : {"a*", "", "^", "$", "\\A\\z", "(?!a)"}) {
    EXPECT_EQ(Matches(pattern, ""), Strings{}) << pattern;
  }
}

TEST(RegexTest, LineEndsRepeat) {
  EXPECT_EQ(Matches("\\R+", "a\r\n\n\nb\r"), (Strings{"\r\n\n\n", "\r"}));
  EXPECT_EQ(Matches("\\R{2}", "\r\n\n\xE2\x80\xA8\n"), (Strings{"\r\n\n", "\xE2\x80\xA8\n"}));
  EXPECT_EQ(Matches("\\R", "\r\n\n\r\xC2\x85"), (Strings{"\r\n", "\n", "\r", "\xC2\x85"}));
  EXPECT_EQ(Matches("(?<=\\R)b", "\nb\r\nb"), (Strings{"b"}));
}

TEST(RegexTest, MatchesDoNotOverlap) {
  EXPECT_EQ(Matches("(?<=\\Ka)b", "abab"), (Strings{"ab", "ab"}));
  EXPECT_EQ(Matches("a\\Kb", "abab"), (Strings{"b", "b"}));
  for (const std::string pattern : {"(?<=\\K )", "(?<=\\Kab)a|b"}) {
    const auto regex = Regex::Compile(pattern);
    ASSERT_TRUE(regex.ok());
    std::vector<Span> spans;
    SearchBudget budget;
    const absl::Status status = regex->FindAll("ab aba", &budget, &spans);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_NE(MessageOf(status).find("matches a part of this text twice"), std::string::npos);
    EXPECT_LE(spans.size(), 2u);
  }
}

// No pattern of a file may make the engine call code or keep counts.
TEST(RegexTest, RefusesCalloutsByName) {
  for (const std::string pattern : {"(*COUNT)a", "(*MAX{2})a", "(*ERROR)", "(*SKIP)a", "(*x)"}) {
    const auto regex = Regex::Compile("b|" + pattern);
    ASSERT_FALSE(regex.ok()) << pattern;
    EXPECT_EQ(regex.status().code(), absl::StatusCode::kInvalidArgument);
    const std::string name = "the callout " + pattern.substr(0, pattern.find_first_of("){"));
    EXPECT_NE(MessageOf(regex.status()).find(name), std::string::npos) << regex.status();
  }
  EXPECT_NE(MessageOf(Regex::Compile("(?{x})a").status()).find("the callout (?{...}"),
            std::string::npos);
  EXPECT_EQ(Matches("a(*FAIL)|.", "ab"), (Strings{"a", "b"}));
  EXPECT_EQ(Matches("[(*MAX)]+", "(*)"), (Strings{"(*)"}));
}

TEST(RegexTest, LookBehindSeesTheTextBefore) {
  EXPECT_EQ(Matches("(?<=a)b", "abb"), (Strings{"b"}));
}

TEST(RegexTest, CategoriesAreThoseOfUnicode16) {
  // U+1C89 (Lu), U+10D40 (Nd), U+897 (Mn), U+1FAE9 (So), U+2EBF0 (Han): all since Unicode 15.1.
  EXPECT_EQ(Matches("\\p{L}", "\xE1\xB2\x89").size(), 1u);
  EXPECT_EQ(Matches("\\p{Lu}", "\xE1\xB2\x89").size(), 1u);
  EXPECT_EQ(Matches("\\p{N}", "\xF0\x90\xB5\x80").size(), 1u);
  EXPECT_EQ(Matches("[\\p{M}]", "\xE0\xA2\x97").size(), 1u);
  EXPECT_EQ(Matches("\\p{S}", "\xF0\x9F\xAB\xA9").size(), 1u);
  EXPECT_EQ(Matches("\\p{Han}", "\xF0\xAE\xAF\xB0").size(), 1u);
  EXPECT_EQ(Matches("[^\\s\\p{L}\\p{N}]", "\xE1\xB2\x89\xF0\x90\xB5\x80").size(), 0u);
}

TEST(RegexTest, RefusesPatternsTheEngineRefuses) {
  for (const std::string pattern : {"(", "[a", "a{2,1", "\\p{Nonsense}", "(?<n", "*"}) {
    const auto regex = Regex::Compile(pattern);
    if (regex.ok()) continue;
    EXPECT_EQ(regex.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(MessageOf(regex.status()).find("Oniguruma"), std::string::npos);
  }
  EXPECT_FALSE(Regex::Compile("(").ok());
  EXPECT_FALSE(Regex::Compile("\\p{Nonsense}").ok());
  EXPECT_FALSE(Regex::Compile(std::string(1 << 20, 'a')).ok());
  EXPECT_FALSE(Regex::Compile(std::string(10'000, '(') + std::string(10'000, ')')).ok());
}

TEST(RegexTest, AnEngineLimitIsAnError) {
  const auto regex = Regex::Compile("(a|a)*b|(?:a+)+c");
  ASSERT_TRUE(regex.ok());
  std::vector<Span> spans;
  SearchBudget budget;
  const absl::Status status = regex->FindAll(std::string(40, 'a'), &budget, &spans);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_NE(MessageOf(status).find("takes too long on this text"), std::string::npos);
}

TEST(RegexTest, ASpentBudgetIsAnError) {
  // Whether there is a match or not, and the message blames no single pattern.
  for (const std::string pattern : {"a", "b", "(?<=b)a"}) {
    const auto regex = Regex::Compile(pattern);
    ASSERT_TRUE(regex.ok());
    std::vector<Span> spans;
    SearchBudget budget(std::chrono::seconds(-1));
    const absl::Status status = regex->FindAll(std::string(1000, 'a'), &budget, &spans);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << pattern;
    EXPECT_EQ(MessageOf(status),
              "the searches of all the tokenizer's patterns take too long on this text: more than "
              "-1000 ms of CPU time");
  }
}

// Each search takes milliseconds and finds nothing: it is the sum that counts.
TEST(RegexTest, SearchesWithoutAMatchSpendTheBudget) {
  const auto regex = Regex::Compile("\\s+(?:\\p{L}|\\d)");
  ASSERT_TRUE(regex.ok());
  const std::string tabs(1000, '\t');
  SearchBudget budget(std::chrono::milliseconds(100));
  std::vector<Span> spans;
  absl::Status status;
  int searches = 0;
  for (; status.ok() && searches < 100'000; ++searches) {
    status = regex->FindAll(tabs, &budget, &spans);
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_GT(searches, 1);
  EXPECT_TRUE(spans.empty());
}

// Keeps the thread running.
void KeepRunning(std::chrono::milliseconds time) {
  const clock_t start = clock();
  while (clock() - start < CLOCKS_PER_SEC / 1000 * time.count()) {
  }
}

TEST(SearchBudgetTest, CountsNeitherWaitingNorWhatIsBetweenSearches) {
  SearchBudget budget(std::chrono::milliseconds(50));
  budget.Stop();
  KeepRunning(std::chrono::milliseconds(100));
  budget.Start();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_FALSE(budget.IsSpent());
  budget.Stop();
  KeepRunning(std::chrono::milliseconds(100));
  budget.Start();
  EXPECT_FALSE(budget.IsSpent());
  KeepRunning(std::chrono::milliseconds(100));
  budget.Stop();
  EXPECT_TRUE(budget.IsSpent());
}

TEST(SearchBudgetTest, LooksAtTheClockBehindALongSearchOrSixteenShortOnes) {
  SearchBudget budget(std::chrono::seconds(-1));
  EXPECT_TRUE(budget.IsSpentBySearch(256));
  int spent = 0;
  for (int i = 0; i < 160; ++i) spent += budget.IsSpentBySearch(255);
  EXPECT_EQ(spent, 10);
}

TEST(SearchBudgetTest, ALongTextMayTakeLonger) {
  EXPECT_EQ(SearchBudget::LimitFor(0), std::chrono::seconds(10));
  EXPECT_EQ(SearchBudget::LimitFor(size_t{64} << 20), std::chrono::seconds(74));
}

// The engine quotes the pattern and cuts what it quotes, maybe inside a character.
TEST(RegexTest, TheEnginesMessagesAreUtf8) {
  std::string name;
  for (int i = 0; i < 40; ++i) name += "\xC3\xA9";
  for (const std::string shift : {"", "a"}) {
    const auto regex = Regex::Compile("\\k<" + shift + name + ">");
    ASSERT_FALSE(regex.ok());
    EXPECT_NE(MessageOf(regex.status()).find("undefined name"), std::string_view::npos);
    EXPECT_EQ(FirstInvalidUtf8(MessageOf(regex.status())), -1) << shift;
  }
}

}  // namespace
}  // namespace mneme::loader::tokenizer_internal
