// A rank's part of a weight that lies whole in memory.
#ifndef MNEME_ENGINE_RUNTIME_WEIGHT_PART_H_
#define MNEME_ENGINE_RUNTIME_WEIGHT_PART_H_

#include "absl/status/status.h"
#include "loader/pack/packed_weights.h"
#include "proto/mneme/v1/plan.pb.h"

namespace mneme::runtime {

// Whether `whole` is what the plan was made for; `planned` is a weight of one rank's plan, of which
// it holds the part. INVALID_ARGUMENT names the weight, with both shapes.
absl::Status CheckWeight(const v1::Weight& planned, const loader::PackedWeight& whole);

// The same of a weight that is a rank's part by itself (PackedWeight::part).
absl::Status CheckPart(const v1::Weight& planned, const loader::PackedWeight& part);

// The part, in the whole one's memory: a view of the plan's shape. Of a split of several chunks,
// chunk_stride says where the next chunk's part is; of stacked matrices, `stack` has those that the
// part is of. A value table stays as it is: its readers know
// which rows and columns are theirs.
loader::PackedWeight PartOf(const v1::Weight& planned, const loader::PackedWeight& whole);

}  // namespace mneme::runtime

#endif  // MNEME_ENGINE_RUNTIME_WEIGHT_PART_H_
