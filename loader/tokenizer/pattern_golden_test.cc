// What Hugging Face `tokenizers` makes of 134 patterns that published files do not have: brackets,
// \d, \R, \N, options, anchors, look-behind. Only characters on which all releases of Unicode
// agree.
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "loader/json/json_for_test.h"
#include "loader/tokenizer/normalizer.h"
#include "loader/tokenizer/pattern.h"

namespace mneme::loader::tokenizer_internal {
namespace {

using Json = nlohmann::json;
using Strings = std::vector<std::string>;

Strings Split(const Pattern& pattern, SplitBehavior behavior, bool invert,
              const std::string& text) {
  SearchBudget budget;
  std::vector<Span> matches, spans;
  const absl::Status status = pattern.FindAll(text, &budget, &matches);
  EXPECT_TRUE(status.ok()) << status;
  SplitByMatches(static_cast<uint32_t>(text.size()), matches, behavior, invert, &spans);
  Strings pieces;
  for (const Span& span : spans) pieces.push_back(text.substr(span.begin, span.end - span.begin));
  return pieces;
}

TEST(PatternGoldenTest, ReplacesAndSplitsAsTheLibrary) {
  std::ifstream file("loader/tokenizer/testdata/patterns/patterns.json");
  const Json golden = Json::parse(file);
  EXPECT_EQ(golden.at("made_by"), "tokenizers 0.23.3");
  int count = 0;
  for (const Json& group : golden.at("patterns")) {
    const std::string regex = group.at("pattern");
    const auto pattern = Pattern::Build(ParsedJson(Json{{"Regex", regex}}.dump()).field());
    ASSERT_TRUE(pattern.ok()) << pattern.status();
    const auto behavior = ReadSplitBehavior(ParsedJson(group.at("behavior").dump()).field());
    ASSERT_TRUE(behavior.ok()) << behavior.status();
    for (const Json& c : group.at("cases")) {
      const std::string text = c.at(0);
      std::string replaced = text;
      SearchBudget budget;
      ASSERT_TRUE(ReplaceAll(*pattern, "#", &budget, &replaced).ok()) << regex;
      EXPECT_EQ(replaced, c.at(1).get<std::string>()) << regex << " on " << c.at(0).dump();
      EXPECT_EQ(Split(*pattern, *behavior, group.at("invert"), text), c.at(2).get<Strings>())
          << regex << " on " << c.at(0).dump();
      ++count;
    }
  }
  EXPECT_EQ(count, 936);
}

}  // namespace
}  // namespace mneme::loader::tokenizer_internal
