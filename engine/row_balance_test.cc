// How evenly ranks read a value table whose rows are dealt out in blocks: counted, on the geometry
// of the benchmark shape, for random selections of a batch.

#include <algorithm>
#include <bit>
#include <cstdio>
#include <random>
#include <set>
#include <vector>

#include "engine/plan_model.h"
#include "gtest/gtest.h"
#include "kernels/value_gather/value_table.h"

namespace mneme {
namespace {

constexpr int32_t kTokens = 64;

// Distinct rows that each rank reads of one layer's selections.
std::vector<int64_t> RowsByRank(const v1::Attributes::Select& a, int64_t block, int32_t ranks,
                                std::mt19937_64& random) {
  std::set<int64_t> rows;
  for (int32_t i = 0; i < kTokens * a.heads() * a.top_k(); ++i) {
    const auto in_window = static_cast<int64_t>(random() % static_cast<uint64_t>(a.window()));
    rows.insert((in_window + a.offset()) % a.slots());
  }
  std::vector<int64_t> counts;
  for (int32_t r = 0; r < ranks; ++r) {
    const kernels::RowShare share = {r, ranks, std::countr_zero(static_cast<uint64_t>(block)),
                                     false};
    counts.push_back(
        std::count_if(rows.begin(), rows.end(), [&](int64_t row) { return share.Has(row); }));
  }
  return counts;
}

TEST(RowBalanceTest, TheFullestRankReadsLittleMoreThanTheMean) {
  ModelOptions options;
  options.max_step_tokens = kTokens;
  options.max_sequences = kTokens;
  options.kv_cache_bytes = int64_t{64} << 20;
  options.pins.tables = plan::LayoutPins::Tables::kRows;
  for (const int32_t ranks : {2, 4}) {
    options.ranks = ranks;
    const absl::StatusOr<PlannedModel> planned = PlanShape("ultramem-1b-7b", 0, options);
    ASSERT_TRUE(planned.ok()) << planned.status();
    int64_t block = 0;
    for (const v1::Weight& w : planned->plan.weights()) {
      if (w.value_table()) block = w.layout().block();
    }
    ASSERT_GT(block, 0);
    std::mt19937_64 random(1);
    int layers = 0;
    for (const v1::Actor& actor : planned->plan.actors()) {
      if (actor.kind() != v1::PRODUCT_KEY_SELECT) continue;
      const v1::Attributes::Select& a = actor.attributes().select();
      EXPECT_LE(block * 16 * ranks, a.window());
      const std::vector<int64_t> rows = RowsByRank(a, block, ranks, random);
      int64_t sum = 0;
      std::printf("%d ranks, blocks of %d rows, layer %2d:", ranks, static_cast<int>(block),
                  layers);
      for (int64_t count : rows) {
        std::printf(" %d", static_cast<int>(count));
        sum += count;
      }
      const double mean = static_cast<double>(sum) / ranks;
      const double fullest =
          static_cast<double>(*std::max_element(rows.begin(), rows.end())) / mean;
      std::printf(", fullest %.3f of the mean\n", fullest);
      EXPECT_LE(fullest, 1.1) << "layer " << layers;
      ++layers;
    }
    EXPECT_EQ(layers, 16);
  }
}

}  // namespace
}  // namespace mneme
