#include "engine/runtime/step.h"

#include <vector>

#include "gtest/gtest.h"

namespace mneme::runtime {
namespace {

constexpr StepLimits kLimits = {.max_tokens = 8,
                                .max_sequences = 2,
                                .max_logit_rows = 2,
                                .max_positions = 40,
                                .kv_blocks = 6,
                                .kv_block_tokens = 16};

TEST(StepTest, SpansLieOneAfterTheOther) {
  Step step(kLimits);
  step.AddSpan(1, 5, std::vector<int32_t>{7, 8, 9});
  step.AddSpan(0, 30, std::vector<int32_t>{4});
  step.AddLogitRow(2);
  step.AddLogitRow(3);
  step.AddBlockChange(1, 0, 5);
  EXPECT_EQ(step.tokens(), 4);
  ASSERT_EQ(step.spans().size(), 2u);
  EXPECT_EQ(step.spans()[1].first_row, 3);
  EXPECT_EQ(step.spans()[1].first_position, 30);
  EXPECT_EQ(std::vector<int32_t>(step.positions().begin(), step.positions().end()),
            (std::vector<int32_t>{5, 6, 7, 30}));
  step.Clear();
  EXPECT_TRUE(step.empty());
  EXPECT_TRUE(step.block_changes().empty());
  EXPECT_TRUE(step.logit_rows().empty());
}

TEST(StepTest, LimitsRoundBlocksUp) {
  EXPECT_EQ(kLimits.max_blocks_per_sequence(), 3);
  EXPECT_EQ(kLimits.max_block_changes(), 6);
}

TEST(StepDeathTest, MoreThanThePlanHoldsIsOurBug) {
  Step step(kLimits);
  EXPECT_DEATH(step.AddSpan(0, 0, std::vector<int32_t>(9, 1)), "");
  step.AddLogitRow(0);
  step.AddLogitRow(1);
  EXPECT_DEATH(step.AddLogitRow(2), "");
}

}  // namespace
}  // namespace mneme::runtime
