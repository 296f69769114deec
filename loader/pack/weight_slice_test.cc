#include "loader/pack/weight_slice.h"

#include <set>

#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

TEST(WeightSliceTest, AllIsOneRun) {
  const WeightSlice slice;
  EXPECT_TRUE(slice.whole());
  const auto runs = RowRuns(slice, 10);
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].size, 10);
}

TEST(WeightSliceTest, AChunkedAxisGivesARunOfEachChunk) {
  WeightSlice slice;
  slice.rows = {.first = 2, .size = 3, .chunks = 4};
  EXPECT_FALSE(slice.whole());
  EXPECT_EQ(slice.rows.Count(40), 12);
  const auto runs = RowRuns(slice, 40);
  ASSERT_EQ(runs.size(), 4u);
  EXPECT_EQ(runs[3].first, 32);
  EXPECT_EQ(runs[3].size, 3);
}

// Every row belongs to one rank, also where the last block is short and ranks are more than blocks.
TEST(WeightSliceTest, BlocksAreDealtOut) {
  for (int64_t rows : {1, 7, 8, 64, 1001}) {
    for (int32_t ranks : {1, 2, 3, 4}) {
      std::multiset<int64_t> seen;
      for (int32_t rank = 0; rank < ranks; ++rank) {
        WeightSlice slice;
        slice.block = 4;
        slice.rank = rank;
        slice.ranks = ranks;
        for (const RowRun& run : RowRuns(slice, rows)) {
          for (int64_t i = 0; i < run.size; ++i) {
            EXPECT_EQ((run.first + i) / 4 % ranks, rank);
            seen.insert(run.first + i);
          }
        }
      }
      EXPECT_EQ(static_cast<int64_t>(seen.size()), rows);
      EXPECT_EQ(std::set<int64_t>(seen.begin(), seen.end()).size(), seen.size());
    }
  }
}

}  // namespace
}  // namespace mneme::loader
