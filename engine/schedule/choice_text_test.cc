#include "engine/schedule/choice_text.h"

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::schedule {
namespace {

// Id i is the letter 'a' + i; what Flush adds is "$".
class Letters : public TextStream {
 public:
  void Reset(std::span<const int32_t>) override {}
  void Append(int32_t id, std::string* out) override {
    out->push_back(static_cast<char>('a' + id));
  }
  void Flush(std::string* out) override { out->push_back('$'); }
};

const std::vector<std::string> kNoStops;
const std::vector<std::string> kStops = {"bc"};

TEST(ChoiceTextTest, WithoutAStreamThereIsNoText) {
  ChoiceText text(nullptr, kStops, false);
  EXPECT_FALSE(text.searches());
  std::string out;
  text.Echo(0, &out);
  EXPECT_EQ(text.Append(1, true, &out), -1);
  text.Flush(&out);
  EXPECT_EQ(out, "");
}

TEST(ChoiceTextTest, WithoutStopStringsEveryTokensTextComesAtOnce) {
  ChoiceText text(std::make_unique<Letters>(), kNoStops, false);
  EXPECT_FALSE(text.searches());
  std::string out;
  text.Echo(0, &out);
  EXPECT_EQ(text.Append(1, true, &out), -1);
  EXPECT_EQ(out, "ab");
  text.Flush(&out);
  EXPECT_EQ(out, "ab$");
}

TEST(ChoiceTextTest, HoldsBackFindsAndFlushesInOrder) {
  ChoiceText text(std::make_unique<Letters>(), kStops, false);
  EXPECT_TRUE(text.searches());
  std::string out;
  text.Append(0, true, &out);
  text.Append(1, true, &out);
  EXPECT_EQ(out, "a");
  text.Flush(&out);
  EXPECT_EQ(out, "ab$");

  ChoiceText matching(std::make_unique<Letters>(), kStops, true);
  std::string matched;
  EXPECT_EQ(matching.Append(1, true, &matched), -1);
  EXPECT_EQ(matching.Append(2, true, &matched), 0);
  EXPECT_EQ(matched, "bc");
}

TEST(ChoiceTextTest, EchoAndUnsearchedTokensAreNotMatched) {
  ChoiceText text(std::make_unique<Letters>(), kStops, false);
  std::string out;
  text.Echo(1, &out);
  EXPECT_EQ(text.Append(2, true, &out), -1) << "the b is the prompt's";
  EXPECT_EQ(text.Append(1, false, &out), -1);
  EXPECT_EQ(text.Append(2, false, &out), -1);
  EXPECT_EQ(out, "bcbc");
}

}  // namespace
}  // namespace mneme::schedule
