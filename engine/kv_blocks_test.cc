#include "engine/kv_blocks.h"

#include <string>

#include "gtest/gtest.h"

namespace mneme {
namespace {

// Two ranks: 700 and 500 bytes of the 1000 of the weights, 100 of registers each; blocks of 48 and
// 32 bytes.
v1::Plan TwoRanks() {
  v1::Plan plan;
  plan.mutable_limits()->set_kv_blocks(2);
  plan.mutable_limits()->set_kv_block_tokens(16);
  plan.mutable_limits()->set_max_positions(40);
  plan.add_kv_caches()->set_bytes(2 * 64);
  plan.add_weights()->set_bytes(1000);
  v1::Weight* again = plan.add_weights();
  again->set_bytes(200);
  again->set_shared_with("w");
  for (int rank : {0, 1}) {
    v1::RankMemory* memory = plan.add_memory();
    memory->set_rank(rank);
    memory->set_weight_bytes(rank == 0 ? 700 : 500);
    memory->set_kv_bytes(2 * (rank == 0 ? 48 : 32));
    memory->set_arena_bytes(100);
  }
  return plan;
}

plan::CostModel Memory(bool shared, int64_t bytes) {
  plan::CostModel cost = plan::CostOf(*plan::NamedCluster("2xcpu"));
  cost.shared_memory = shared;
  cost.memory_bytes = bytes;
  return cost;
}

TEST(KvBlocksTest, TheDefaultIsWhatAllContextsNeedOrWhatFits) {
  const v1::Plan plan = TwoRanks();
  EXPECT_EQ(BlocksOfSequence(plan.limits()), 3);
  EXPECT_EQ(KvBlocks(plan, Memory(false, 0), {.max_sequences = 5}).value(), 15);
  // Rank 0 has most beside its blocks, and the largest ones.
  EXPECT_EQ(KvBlocks(plan, Memory(false, 800 + 4 * 48), {.max_sequences = 5}).value(), 4);
  EXPECT_EQ(KvBlocks(plan, Memory(false, 800 + 4 * 48 - 1), {.max_sequences = 5}).value(), 3);
  // Threads hold the weights once.
  EXPECT_EQ(KvBlocks(plan, Memory(true, 1200 + 4 * 80), {.max_sequences = 5}).value(), 4);
  EXPECT_EQ(KvBlocks(plan, Memory(true, 1200 + 4 * 80 - 1), {.max_sequences = 5}).value(), 3);
  // A quarter of the free memory, but one context at least.
  EXPECT_EQ(KvBlocks(plan, Memory(true, 0), {.max_sequences = 5, .free_bytes = 16 * 80}).value(),
            4);
  EXPECT_EQ(KvBlocks(plan, Memory(true, 0), {.max_sequences = 5, .free_bytes = 100}).value(), 3);
}

TEST(KvBlocksTest, OneContextThatDoesNotFitIsRefusedWithTheBytes) {
  const v1::Plan plan = TwoRanks();
  const absl::Status limited = KvBlocks(plan, Memory(false, 800 + 2 * 48), {}).status();
  EXPECT_EQ(limited.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(std::string(limited.message()),
            "the KV cache of one sequence of 40 tokens needs 3 blocks of 80 bytes, a rank may hold "
            "896 bytes, of which weights and registers leave room for 2; max_model_len serves "
            "shorter ones");
  const absl::Status full =
      KvBlocks(plan, Memory(true, 0), {.free_bytes = 239, .measure = true}).status();
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(std::string(full.message()).find("239 bytes of memory are free"), std::string::npos);
  EXPECT_EQ(KvBlocks(plan, Memory(true, 0), {.cache_bytes = 79}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(KvBlocksTest, AGivenSizeIsAllRanksTogetherAndMayNotFit) {
  v1::Plan plan = TwoRanks();
  EXPECT_EQ(KvBlocks(plan, Memory(false, 1), {.cache_bytes = 10 * 80 + 79}).value(), 10);
  EXPECT_FALSE(KvBlocksFit(plan, Memory(false, 800 + 48), 2));
  EXPECT_TRUE(KvBlocksFit(plan, Memory(false, 800 + 48), 1));
  SetKvBlocks(10, &plan);
  EXPECT_EQ(plan.limits().kv_blocks(), 10);
  EXPECT_EQ(plan.kv_caches(0).bytes(), 640);
  EXPECT_EQ(plan.memory(0).kv_bytes(), 480);
  EXPECT_EQ(plan.memory(1).kv_bytes(), 320);
}

}  // namespace
}  // namespace mneme
