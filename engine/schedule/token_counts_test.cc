#include "engine/schedule/token_counts.h"

#include <map>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::schedule {
namespace {

TEST(TokenCountsTest, AgreesWithAMapOnRandomTokens) {
  std::mt19937 random(3);
  for (int32_t vocab : {1, 7, 1000, 60000}) {
    std::vector<int32_t> prompt(200);
    for (int32_t& token : prompt) token = static_cast<int32_t>(random() % vocab);
    TokenCounts counts(prompt, 500);
    std::map<int32_t, int32_t> expected;
    for (int32_t token : prompt) expected[token] = 0;
    const auto* storage = counts.entries().data();
    for (int i = 0; i < 300; ++i) {
      const int32_t token = static_cast<int32_t>(random() % vocab);
      counts.AddOutput(token);
      ++expected[token];
    }
    EXPECT_EQ(counts.entries().data(), storage) << "the list moved: it was not reserved";
    std::map<int32_t, int32_t> got;
    for (const TokenCount& entry : counts.entries()) {
      EXPECT_TRUE(got.emplace(entry.token_id, entry.output_count).second);
    }
    EXPECT_EQ(got, expected);
  }
}

}  // namespace
}  // namespace mneme::schedule
