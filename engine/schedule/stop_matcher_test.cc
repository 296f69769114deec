#include "engine/schedule/stop_matcher.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::schedule {
namespace {

struct Outcome {
  std::string text;
  int stop = -1;
  bool operator==(const Outcome&) const = default;
};

Outcome Match(const std::vector<std::string>& stops, const std::vector<std::string>& pieces,
              bool include_match = false) {
  StopMatcher matcher(stops);
  Outcome outcome;
  for (const std::string& piece : pieces) {
    outcome.stop = matcher.Append(piece, include_match, &outcome.text);
    if (outcome.stop >= 0) return outcome;
  }
  matcher.Flush(&outcome.text);
  return outcome;
}

// The definition: looks at every prefix of the text for a stop string at its end.
Outcome Define(const std::vector<std::string>& stops, const std::string& text, bool include_match) {
  for (size_t end = 1; end <= text.size(); ++end) {
    int winner = -1;
    for (size_t s = 0; s < stops.size(); ++s) {
      if (text.substr(0, end).ends_with(stops[s]) &&
          (winner < 0 || stops[s].size() > stops[static_cast<size_t>(winner)].size())) {
        winner = static_cast<int>(s);
      }
    }
    if (winner >= 0) {
      const size_t begin = end - stops[static_cast<size_t>(winner)].size();
      return {text.substr(0, include_match ? end : begin), winner};
    }
  }
  return {text, -1};
}

TEST(StopMatcherTest, HoldsBackOnlyWhatCouldStillMatch) {
  const std::vector<std::string> stops = {"STOP"};
  StopMatcher matcher(stops);
  std::string out;
  EXPECT_EQ(matcher.Append("abS", false, &out), -1);
  EXPECT_EQ(out, "ab");
  EXPECT_EQ(matcher.Append("TO", false, &out), -1);
  EXPECT_EQ(out, "ab");
  EXPECT_EQ(matcher.Append("S", false, &out), -1);
  EXPECT_EQ(out, "abSTO");
  EXPECT_EQ(matcher.Append("TOPxyz", false, &out), 0);
  EXPECT_EQ(out, "abSTO");
}

TEST(StopMatcherTest, IncludesTheMatchWhenAskedAndDropsWhatFollows) {
  EXPECT_EQ(Match({"\n\n"}, {"a\n", "b\n", "\nc"}, true), (Outcome{"a\nb\n\n", 0}));
  EXPECT_EQ(Match({"\n\n"}, {"a\n", "b\n", "\nc"}, false), (Outcome{"a\nb", 0}));
}

TEST(StopMatcherTest, TheMatchCompleteFirstWinsAndThenTheLongest) {
  EXPECT_EQ(Match({"world", "lo wo"}, {"hello world"}), (Outcome{"hel", 1}));
  EXPECT_EQ(Match({"d", "world"}, {"hello world"}), (Outcome{"hello ", 1}));
  EXPECT_EQ(Match({"abcd", "bc"}, {"abcd"}), (Outcome{"a", 1}));
  EXPECT_EQ(Match({"abcd", "bc"}, {"a", "b", "c", "d"}), (Outcome{"a", 1}));
}

TEST(StopMatcherTest, ReleasesEverythingAtTheEnd) {
  EXPECT_EQ(Match({"abcabd"}, {"xabcab"}), (Outcome{"xabcab", -1}));
}

TEST(StopMatcherTest, BypassedTextIsNotSearchedNorJoinedToWhatFollows) {
  const std::vector<std::string> stops = {"ab"};
  StopMatcher matcher(stops);
  std::string out;
  matcher.Bypass("ab a", &out);
  EXPECT_EQ(matcher.Append("b", false, &out), -1);
  EXPECT_EQ(out, "ab ab");
  EXPECT_EQ(matcher.Append("ab", false, &out), 0);
}

TEST(StopMatcherTest, AgreesWithTheDefinitionOnRandomTextHoweverItIsCut) {
  std::mt19937 random(2);
  const auto random_text = [&random](size_t size) {
    std::string text(size, 'a');
    for (char& c : text) c = static_cast<char>('a' + random() % 3);
    return text;
  };
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::string> stops(1 + random() % 4);
    for (std::string& stop : stops) stop = random_text(1 + random() % 7);
    const std::string text = random_text(40);
    std::vector<std::string> pieces;
    for (size_t at = 0; at < text.size();) {
      const size_t size = std::min<size_t>(random() % 6, text.size() - at);
      pieces.push_back(text.substr(at, size));
      at += size;
    }
    const bool include_match = random() % 2 == 0;
    ASSERT_EQ(Match(stops, pieces, include_match), Define(stops, text, include_match)) << text;
  }
}

}  // namespace
}  // namespace mneme::schedule
