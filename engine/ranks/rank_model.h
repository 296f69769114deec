// The model as a rank's process loads it, and how it makes sure that it is the front's.
#ifndef MNEME_ENGINE_RANKS_RANK_MODEL_H_
#define MNEME_ENGINE_RANKS_RANK_MODEL_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/plan_model.h"
#include "proto/mneme/v1/ranks.pb.h"

namespace mneme::ranks {

struct RankModel {
  loader::PackedWeights weights;
  int64_t weight_bytes = 0;  // of what the rank reads
  int32_t embedding_size = 0;
};

// Where weights come from, for the ranks of a model that this process has planned. Errors name the
// file.
absl::StatusOr<v1::ModelSource> SourceOf(const PlannedModel& planned);

// What the setup's plan gives its rank. FAILED_PRECONDITION names the file in which this copy of
// the checkpoint differs from the front's, and how.
absl::StatusOr<RankModel> LoadRankModel(const v1::RankSetup& setup);

}  // namespace mneme::ranks

#endif  // MNEME_ENGINE_RANKS_RANK_MODEL_H_
