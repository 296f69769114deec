#include "engine/kv_blocks.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"

namespace mneme {
namespace {

// Of one rank, or of all together where they share their memory.
struct Held {
  int64_t block_bytes = 0;
  int64_t other_bytes = 0;  // weights and registers
};

int64_t BlockBytes(const v1::Plan& plan, const v1::RankMemory& rank) {
  return rank.kv_bytes() / plan.limits().kv_blocks();
}

Held HeldTogether(const v1::Plan& plan) {
  Held held;
  for (const v1::RankMemory& rank : plan.memory()) {
    held.block_bytes += BlockBytes(plan, rank);
    held.other_bytes += rank.arena_bytes();
  }
  for (const v1::Weight& w : plan.weights()) {
    if (w.shared_with().empty()) held.other_bytes += w.bytes();
  }
  return held;
}

int64_t BlocksWithin(int64_t bytes, const Held& held) {
  return std::max<int64_t>(0, bytes - held.other_bytes) / std::max<int64_t>(1, held.block_bytes);
}

// That fit beside everything else.
int64_t MostBlocks(const v1::Plan& plan, const plan::CostModel& cost) {
  if (cost.memory_bytes <= 0) return std::numeric_limits<int64_t>::max();
  if (cost.shared_memory) return BlocksWithin(cost.memory_bytes, HeldTogether(plan));
  int64_t most = std::numeric_limits<int64_t>::max();
  for (const v1::RankMemory& rank : plan.memory()) {
    const Held held{BlockBytes(plan, rank), rank.weight_bytes() + rank.arena_bytes()};
    most = std::min(most, BlocksWithin(cost.memory_bytes, held));
  }
  return most;
}

}  // namespace

int64_t BlocksOfSequence(const v1::StepLimits& limits) {
  return (int64_t{limits.max_positions()} + limits.kv_block_tokens() - 1) /
         limits.kv_block_tokens();
}

bool KvBlocksFit(const v1::Plan& plan, const plan::CostModel& cost, int64_t blocks) {
  return blocks <= MostBlocks(plan, cost);
}

absl::StatusOr<int32_t> KvBlocks(const v1::Plan& plan, const plan::CostModel& cost,
                                 const KvBudget& budget) {
  const int64_t block_bytes = HeldTogether(plan).block_bytes;
  const int64_t per_sequence = BlocksOfSequence(plan.limits());
  int64_t blocks = per_sequence * budget.max_sequences;
  const auto refused = [&](const std::string& why) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the KV cache of one sequence of ", plan.limits().max_positions(),
                     " tokens needs ", per_sequence, " blocks of ", block_bytes, " bytes, ", why,
                     "; max_model_len serves shorter ones"));
  };
  if (budget.cache_bytes > 0) {
    blocks = budget.cache_bytes / std::max<int64_t>(1, block_bytes);
  } else {
    if (const int64_t free = budget.free_bytes; free > 0) {
      if (budget.measure && per_sequence > free / block_bytes) {
        return refused(absl::StrCat(free, " bytes of memory are free"));
      }
      blocks = std::min(blocks, std::max(per_sequence, free / 4 / block_bytes));
    }
    const int64_t most = MostBlocks(plan, cost);
    if (most < per_sequence) {
      return refused(absl::StrCat(cost.shared_memory ? "all ranks together" : "a rank",
                                  " may hold ", cost.memory_bytes, " bytes, of which weights and ",
                                  "registers leave room for ", most));
    }
    blocks = std::min(blocks, most);
  }
  if (blocks < 1 || blocks > std::numeric_limits<int32_t>::max()) {
    return absl::InvalidArgumentError(absl::StrCat("a KV cache of ", budget.cache_bytes,
                                                   " bytes holds ", blocks, " blocks of ",
                                                   block_bytes, " bytes"));
  }
  return static_cast<int32_t>(blocks);
}

void SetKvBlocks(int32_t blocks, v1::Plan* plan) {
  const int64_t before = plan->limits().kv_blocks();
  for (v1::KvCache& cache : *plan->mutable_kv_caches()) {
    cache.set_bytes(cache.bytes() / before * blocks);
  }
  for (v1::RankMemory& rank : *plan->mutable_memory()) {
    rank.set_kv_bytes(rank.kv_bytes() / before * blocks);
  }
  plan->mutable_limits()->set_kv_blocks(blocks);
}

}  // namespace mneme
