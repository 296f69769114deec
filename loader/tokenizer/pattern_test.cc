#include "loader/tokenizer/pattern.h"

#include "gtest/gtest.h"
#include "loader/json/json_for_test.h"
#include "loader/tokenizer/message.h"

namespace mneme::loader::tokenizer_internal {
namespace {

using Strings = std::vector<std::string>;

Strings Split(const std::string& pattern, SplitBehavior behavior, bool invert,
              std::string_view text) {
  const auto built = Pattern::Build(ParsedJson(pattern).field());
  EXPECT_TRUE(built.ok()) << built.status();
  std::vector<Span> matches, spans;
  SearchBudget budget;
  EXPECT_TRUE(built->FindAll(text, &budget, &matches).ok());
  SplitByMatches(static_cast<uint32_t>(text.size()), matches, behavior, invert, &spans);
  Strings pieces;
  for (const Span& span : spans)
    pieces.emplace_back(text.substr(span.begin, span.end - span.begin));
  return pieces;
}

// The examples of the library's documentation, and of its tests.
TEST(PatternTest, BehavioursOfSplit) {
  const std::string dash = R"({"String":"-"})";
  const std::string text = "the-final--countdown";
  EXPECT_EQ(Split(dash, SplitBehavior::kRemoved, false, text),
            (Strings{"the", "final", "countdown"}));
  EXPECT_EQ(Split(dash, SplitBehavior::kIsolated, false, text),
            (Strings{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(Split(dash, SplitBehavior::kMergedWithPrevious, false, text),
            (Strings{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(Split(dash, SplitBehavior::kMergedWithNext, false, text),
            (Strings{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(Split(dash, SplitBehavior::kContiguous, false, text),
            (Strings{"the", "-", "final", "--", "countdown"}));
}

TEST(PatternTest, InvertExchangesMatchesAndGaps) {
  const std::string word = R"({"Regex":"\\w+"})";
  EXPECT_EQ(Split(word, SplitBehavior::kRemoved, true, "a, b!"), (Strings{"a", "b"}));
  EXPECT_EQ(Split(word, SplitBehavior::kRemoved, false, "a, b!"), (Strings{", ", "!"}));
  EXPECT_EQ(Split(word, SplitBehavior::kIsolated, true, "a, b!"), (Strings{"a", ", ", "b", "!"}));
}

TEST(PatternTest, StringsAreNoRegularExpressions) {
  EXPECT_EQ(Split(R"({"String":".+"})", SplitBehavior::kIsolated, false, "a.+b"),
            (Strings{"a", ".+", "b"}));
  // As in the library, an empty one matches between any two characters.
  EXPECT_EQ(Split(R"({"String":""})", SplitBehavior::kIsolated, false, "aéb"),
            (Strings{"a", "é", "b"}));
}

TEST(PatternTest, NumbersAndCharacters) {
  std::vector<Span> matches;
  SearchBudget budget;
  ASSERT_TRUE(Pattern::Numbers().FindAll("a1\xC2\xB2-\xE3\x80\x87", &budget, &matches).ok());
  EXPECT_EQ(matches, (std::vector<Span>{{1, 2}, {2, 4}, {5, 8}}));
  matches.clear();
  ASSERT_TRUE(Pattern::Character(0x2581).FindAll("\xE2\x96\x81x", &budget, &matches).ok());
  EXPECT_EQ(matches, (std::vector<Span>{{0, 3}}));
}

TEST(PatternTest, RefusesByName) {
  const auto error = [](const std::string& json) {
    const auto pattern = Pattern::Build(ParsedJson(json).field());
    return pattern.ok() ? "" : std::string(MessageOf(pattern.status()));
  };
  EXPECT_NE(error(R"("a")").find("expected an object"), std::string::npos);
  EXPECT_NE(error("{}").find("expected one of String and Regex"), std::string::npos);
  EXPECT_NE(error(R"({"String":"a","Regex":"a"})").find("expected one of"), std::string::npos);
  EXPECT_NE(error(R"({"Glob":"a"})").find("\"Glob\""), std::string::npos);
  EXPECT_NE(error(R"({"Regex":"("})").find("Regex: the pattern \"(\" is refused"),
            std::string::npos);
  EXPECT_FALSE(ReadSplitBehavior(ParsedJson("\"Shuffled\"").field()).ok());
}

}  // namespace
}  // namespace mneme::loader::tokenizer_internal
