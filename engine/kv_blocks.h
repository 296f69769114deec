// How many blocks the KV cache of a plan has.
#ifndef MNEME_ENGINE_KV_BLOCKS_H_
#define MNEME_ENGINE_KV_BLOCKS_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/plan/cost_model.h"
#include "proto/mneme/v1/plan.pb.h"

namespace mneme {

struct KvBudget {
  int64_t cache_bytes = 0;  // of all ranks together; 0: the default, see ModelOptions
  int32_t max_sequences = 1;
  // Bytes of memory that are free; 0: not known.
  int64_t free_bytes = 0;
  // Refuse a default that does not fit `free_bytes`.
  bool measure = false;
};

// Blocks that one sequence of the plan's max_positions needs.
int64_t BlocksOfSequence(const v1::StepLimits& limits);

// As many blocks as the plan's caches may have, copies of heads that several ranks keep included;
// by default never more than fit what `cost` says that ranks may hold beside the plan's weights and
// registers. RESOURCE_EXHAUSTED with the bytes when one sequence does not fit, INVALID_ARGUMENT
// when not one block does.
absl::StatusOr<int32_t> KvBlocks(const v1::Plan& plan, const plan::CostModel& cost,
                                 const KvBudget& budget);

// Whether so many blocks fit what ranks may hold beside the plan's weights and registers.
bool KvBlocksFit(const v1::Plan& plan, const plan::CostModel& cost, int64_t blocks);

// Gives the plan's caches another number of blocks: nothing else of a plan depends on it.
// REQUIRES: blocks >= 1.
void SetKvBlocks(int32_t blocks, v1::Plan* plan);

}  // namespace mneme

#endif  // MNEME_ENGINE_KV_BLOCKS_H_
