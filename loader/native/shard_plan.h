// What of a checkpoint goes where in the shards of its native form: computed from the model and the
// headers alone, before a byte is read. Deterministic, and the same for any number of ranks.
//
// The order is that of use: the model's own weights, then block by block the block's (its experts
// last, expert by expert), then each memory layer's, then whatever comes in blocks (value tables,
// and matrices that no shard could hold), which begin at multiples of kBlockAlignment. A shard is
// filled until the next tensor would make the file larger than `shard_bytes`.
#ifndef MNEME_LOADER_NATIVE_SHARD_PLAN_H_
#define MNEME_LOADER_NATIVE_SHARD_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "loader/checkpoint/weight_source.h"
#include "loader/model/model_description.h"
#include "loader/native/manifest.h"
#include "loader/pack/served_form.h"

namespace mneme::loader {

inline constexpr int64_t kMostShardBytes = int64_t{4} << 30;
// Room for a header, the bytes before the first block, and the smallest block.
inline constexpr int64_t kLeastShardBytes = int64_t{4} << 20;
// Blocks have no more bytes than this, unless a few rows alone have.
inline constexpr int64_t kMostBlockBytes = int64_t{256} << 20;

struct ShardPlanOptions {
  PackOptions pack;
  std::string conversion;  // 32 hexadecimal digits, for the headers
  int64_t shard_bytes = kMostShardBytes;
};

// A tensor of a shard.
struct ShardPiece {
  int64_t weight = -1;  // into ShardPlan::weights; -1: padding, zeros up to the next tensor
  int64_t tensor = 0;   // into its tensors
  int64_t offset = 0;   // in the file
  int64_t bytes = 0;
};

struct PlannedShard {
  std::string file;    // "model-00001-of-00002.safetensors"
  std::string header;  // the file's beginning: length, JSON text, spaces
  std::vector<ShardPiece> pieces;
  int64_t bytes = 0;  // of the whole file
};

struct ShardPlan {
  std::vector<WeightId> ids;  // whose each of `weights` is
  // Complete but for the checksums.
  std::vector<ManifestWeight> weights;
  std::vector<PlannedShard> shards;

  int64_t bytes() const;  // of all shards
};

// INVALID_ARGUMENT naming the weight when a source is not what its role wants (a stack's matrices
// of several shapes), and when there are more tensors or shards than a manifest may have.
// A single matrix of a stack, or a few rows, that are larger than a shard make a shard of their
// own that is larger than shard_bytes.
// REQUIRES: kLeastShardBytes <= shard_bytes; weights of `model` as InspectCheckpoint finds them.
absl::StatusOr<ShardPlan> PlanShards(const ModelDescription& model, const WeightSources& weights,
                                     const ShardPlanOptions& options);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_NATIVE_SHARD_PLAN_H_
