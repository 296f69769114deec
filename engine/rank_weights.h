// The weights of one rank that has a process of its own: of what the plan splits, only its part.
#ifndef MNEME_ENGINE_RANK_WEIGHTS_H_
#define MNEME_ENGINE_RANK_WEIGHTS_H_

#include <cstdint>
#include <map>

#include "absl/status/statusor.h"
#include "engine/plan_model.h"
#include "loader/pack/packed_weights.h"
#include "loader/pack/weight_slice.h"

namespace mneme {

// What the rank keeps of the weights that the plan splits, by weight.
std::map<loader::WeightId, loader::WeightSlice> SlicesOf(const v1::Plan& plan, int32_t rank);

// As PackModel and GenerateModel, for one rank of the plan. RESOURCE_EXHAUSTED with the bytes when
// the rank's weights, KV cache and registers are more than is free.
absl::StatusOr<loader::PackedWeights> PackRank(const PlannedModel& planned,
                                               const ModelOptions& options, int32_t rank);
absl::StatusOr<loader::PackedWeights> GenerateRank(const PlannedModel& planned, uint64_t seed,
                                                   int32_t rank);

}  // namespace mneme

#endif  // MNEME_ENGINE_RANK_WEIGHTS_H_
