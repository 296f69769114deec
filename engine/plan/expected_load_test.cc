#include "engine/plan/expected_load.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::plan {
namespace {

struct Case {
  int64_t experts, top_k;
  int32_t ranks;
  int64_t tokens;
};

// Means over many draws: distinct experts and uses on the fullest rank.
struct Simulated {
  double distinct = 0;
  double uses = 0;
};
Simulated Simulate(const Case& c) {
  std::mt19937 random(5);
  constexpr int kDraws = 20'000;
  Simulated sums;
  std::vector<int64_t> order(c.experts);
  std::iota(order.begin(), order.end(), 0);
  for (int draw = 0; draw < kDraws; ++draw) {
    std::vector<int64_t> uses(c.experts, 0);
    for (int64_t t = 0; t < c.tokens; ++t) {
      for (int64_t k = 0; k < c.top_k; ++k) {
        std::swap(order[k], order[k + static_cast<int64_t>(random() % (c.experts - k))]);
        ++uses[order[k]];
      }
    }
    int64_t most_distinct = 0, most_uses = 0, at = 0;
    for (int32_t r = 0; r < c.ranks; ++r) {
      const int64_t size = c.experts / c.ranks + (r < c.experts % c.ranks ? 1 : 0);
      int64_t distinct = 0, used = 0;
      for (int64_t e = at; e < at + size; ++e) {
        distinct += uses[e] > 0;
        used += uses[e];
      }
      at += size;
      most_distinct = std::max(most_distinct, distinct);
      most_uses = std::max(most_uses, used);
    }
    sums.distinct += static_cast<double>(most_distinct) / kDraws;
    sums.uses += static_cast<double>(most_uses) / kDraws;
  }
  return sums;
}

TEST(ExpectedLoadTest, TheFullestOfEightRanksReadsTwoAndAHalfExperts) {
  const Load load = ActiveExperts(64, 8, 8, 1);
  EXPECT_DOUBLE_EQ(load.mean, 1);
  EXPECT_NEAR(load.maximum, 2.5, 0.05);
  EXPECT_EQ(ActiveExperts(64, 8, 1, 1).maximum, 8);
  EXPECT_NEAR(ActiveExperts(64, 8, 8, 1000).maximum, 8, 1e-6);
  EXPECT_NEAR(ActiveExperts(64, 8, 64, 1).maximum, 1, 1e-9);
}

// 20,000 draws of integers that vary by less than 3 have means within 0.02 of 3 sigma.
TEST(ExpectedLoadTest, DistinctExpertsAreExact) {
  for (const Case& c : {Case{64, 8, 8, 1}, Case{64, 8, 8, 4}, Case{60, 4, 8, 3}, Case{8, 2, 3, 2},
                        Case{128, 8, 16, 2}, Case{512, 10, 64, 2}}) {
    EXPECT_NEAR(ActiveExperts(c.experts, c.top_k, c.ranks, c.tokens).maximum, Simulate(c).distinct,
                0.03)
        << c.experts << " " << c.tokens;
  }
}

TEST(ExpectedLoadTest, UsesAreWithinAFewPercent) {
  for (const Case& c :
       {Case{64, 8, 8, 1}, Case{64, 8, 8, 8}, Case{64, 8, 8, 32}, Case{128, 8, 4, 16}}) {
    const double simulated = Simulate(c).uses;
    EXPECT_NEAR(ExpertUses(c.experts, c.top_k, c.ranks, c.tokens).maximum, simulated,
                0.03 * simulated + 0.03)
        << c.tokens;
  }
  EXPECT_EQ(ExpertUses(64, 8, 1, 5).maximum, 40);
}

TEST(ExpectedLoadTest, SpreadItemsAreWithinAFewPercent) {
  std::mt19937 random(5);
  for (const auto& [items, ranks] : {std::pair<int64_t, int32_t>(32, 2),
                                     {32, 8},
                                     {32, 64},
                                     {256, 64},
                                     {5, 3},
                                     {1, 4},
                                     {512, 64},
                                     {4096, 8}}) {
    double mean = 0;
    constexpr int kDraws = 4000;
    for (int draw = 0; draw < kDraws; ++draw) {
      std::vector<int64_t> count(ranks, 0);
      for (int64_t i = 0; i < items; ++i) ++count[random() % ranks];
      mean += static_cast<double>(*std::max_element(count.begin(), count.end())) / kDraws;
    }
    const Load load = SpreadItems(items, ranks);
    EXPECT_NEAR(load.maximum, mean, (items <= 256 ? 0.02 : 0.03) * mean) << items << " " << ranks;
    EXPECT_DOUBLE_EQ(load.mean, static_cast<double>(items) / ranks);
  }
  EXPECT_EQ(SpreadItems(7, 1).maximum, 7);
  EXPECT_EQ(SpreadItems(0, 4).maximum, 0);
}

}  // namespace
}  // namespace mneme::plan
