// What ranks keep for themselves, put together, is the whole.
#include "engine/rank_weights.h"

#include <cstring>
#include <string>
#include <vector>

#include "engine/plan/plan_of_rank.h"
#include "gtest/gtest.h"

namespace mneme {
namespace {

using Tables = plan::LayoutPins::Tables;

ModelOptions Options(int32_t ranks, Tables tables, bool round) {
  ModelOptions options;
  options.model_directory = "tests/golden/ultramem_v2";
  options.max_step_tokens = 32;
  options.max_sequences = 4;
  options.ranks = ranks;
  options.cost.exchange_seconds = 0;
  options.cost.exchange_seconds_per_rank = 0;
  options.pins.weights = plan::LayoutPins::Weights::kSplit;
  options.pins.tables = tables;
  options.round_to_bf16 = round;
  return options;
}

const uint8_t* Row(const loader::PackedTable& table, int64_t row) {
  return table.data + row * table.row_stride_bytes;
}

class RankWeightsTest : public ::testing::TestWithParam<Tables> {};

TEST_P(RankWeightsTest, PartsAreOfTheWhole) {
  for (const bool round : {false, true}) {
    for (int32_t ranks : {2, 3}) {
      const ModelOptions options = Options(ranks, GetParam(), round);
      const PlannedModel planned = PlanModel(options).value();
      const loader::PackedWeights whole = PackModel(planned, options).value();
      int parts = 0;
      for (int32_t rank = 0; rank < ranks; ++rank) {
        const v1::Plan local = plan::PlanOfRank(planned.plan, rank);
        const loader::PackedWeights own = PackRank(planned, options, rank).value();
        const auto slices = SlicesOf(planned.plan, rank);
        for (const v1::Weight& w : local.weights()) {
          if (!w.shared_with().empty()) continue;
          const loader::WeightId id{static_cast<loader::Role>(w.role()), w.layer()};
          const loader::PackedWeight& part = own.at(id);
          if (!part.part) continue;
          ++parts;
          EXPECT_EQ(part.bytes, w.bytes()) << w.name();
          const loader::PackedWeight& all = whole.at(id);
          const loader::WeightSlice& slice = slices.at(id);
          int64_t at = 0;
          if (w.value_table()) {
            const int64_t element = kernels::DTypeBytes(part.table.dtype);
            for (const loader::RowRun& run : loader::RowRuns(slice, all.table.rows)) {
              for (int64_t r = 0; r < run.size; ++r, ++at) {
                const uint8_t* mine = Row(part.table, at);
                const uint8_t* theirs = Row(all.table, run.first + r);
                ASSERT_EQ(0, std::memcmp(mine, theirs + slice.pre_cols.first * element,
                                         part.table.pre_width * element));
                ASSERT_EQ(0,
                          std::memcmp(mine + part.table.pre_width * element,
                                      theirs + (all.table.pre_width + slice.cols.first) * element,
                                      part.table.width * element));
              }
            }
            EXPECT_EQ(at, part.table.rows);
            continue;
          }
          const int64_t element = kernels::DTypeBytes(part.view.dtype);
          for (const loader::RowRun& run : loader::RowRuns(slice, all.view.rows)) {
            for (int64_t r = 0; r < run.size; ++r, ++at) {
              ASSERT_EQ(slice.cols.chunks, 1);
              ASSERT_EQ(
                  0, std::memcmp(
                         static_cast<const uint8_t*>(part.view.data) +
                             at * part.view.row_stride * element,
                         static_cast<const uint8_t*>(all.view.data) +
                             ((run.first + r) * all.view.row_stride + slice.cols.first) * element,
                         part.view.cols * element))
                  << w.name();
            }
          }
          EXPECT_EQ(at, part.view.rows);
        }
      }
      EXPECT_GT(parts, 5) << ranks;
    }
  }
}

// What ranks make in memory adds up to what one process would make, but for what all have.
TEST_P(RankWeightsTest, NoRankHoldsTheTable) {
  const ModelOptions options = Options(2, GetParam(), true);
  const PlannedModel planned = PlanModel(options).value();
  const int64_t whole = PackModel(planned, options).value().owned_bytes();
  for (int32_t rank : {0, 1}) {
    const int64_t own = PackRank(planned, options, rank).value().owned_bytes();
    EXPECT_LT(own, 0.75 * static_cast<double>(whole));
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, RankWeightsTest,
                         ::testing::Values(Tables::kRows, Tables::kColumns));

TEST(GenerateRankTest, MadeUpPartsAreThePlansSize) {
  ModelOptions options = Options(3, Tables::kRows, false);
  const PlannedModel planned = PlanModel(options).value();
  for (int32_t rank = 0; rank < 3; ++rank) {
    const v1::Plan local = plan::PlanOfRank(planned.plan, rank);
    const loader::PackedWeights made = GenerateRank(planned, 1, rank).value();
    for (const v1::Weight& w : local.weights()) {
      if (!w.shared_with().empty()) continue;
      const loader::PackedWeight& part = made.at({static_cast<loader::Role>(w.role()), w.layer()});
      EXPECT_EQ(part.bytes, w.bytes());
      EXPECT_EQ(part.part, w.layout().kind() == v1::Layout::SPLIT);
    }
  }
}

}  // namespace
}  // namespace mneme
