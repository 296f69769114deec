// Invariants:
// 1. A weight is packed once, however often it is asked for.
// 2. Two weights of the same rows of the same tensor in the same dtype (a tied head) share memory.
// 3. A view into a mapped file is aligned to its element size; anything else is copied.
// 4. Source bytes that are copied are read front to back once, and their pages given back.
#include "loader/pack/packed_weights.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "loader/pack/packer.h"

namespace mneme::loader {

absl::StatusOr<PackedWeights> PackedWeights::Pack(const Checkpoint& checkpoint,
                                                  const std::vector<WeightId>& ids,
                                                  const PackOptions& options) {
  return Pack(checkpoint, ids, {}, options);
}

absl::StatusOr<PackedWeights> PackedWeights::Pack(const Checkpoint& checkpoint,
                                                  const std::vector<WeightId>& ids,
                                                  const std::map<WeightId, WeightSlice>& slices,
                                                  const PackOptions& options) {
  PackedWeights packed;
  Packer packer(checkpoint, options);
  for (const WeightId& id : ids) {
    if (packed.weights_.count(id) != 0) continue;
    const auto source = checkpoint.weights.find(id);
    if (source == checkpoint.weights.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat(checkpoint.directory, ": the model has no weight ", WeightName(id)));
    }
    const auto slice = slices.find(id);
    absl::StatusOr<PackedWeight> weight =
        packer.PackOne(id, source->second, slice == slices.end() ? WeightSlice{} : slice->second);
    if (!weight.ok()) {
      return absl::Status(weight.status().code(),
                          absl::StrCat(WeightName(id), ": ", weight.status().message()));
    }
    packed.weights_.emplace(id, *weight);
  }
  packed.buffers_ = packer.TakeBuffers();
  packed.files_ = checkpoint.files;
  return packed;
}

const PackedWeight& PackedWeights::at(const WeightId& id) const {
  const auto it = weights_.find(id);
  if (it == weights_.end()) __builtin_trap();
  return it->second;
}

int64_t PackedWeights::owned_bytes() const {
  int64_t bytes = 0;
  for (const kernels::Buffer& buffer : buffers_) bytes += buffer.size();
  return bytes;
}

}  // namespace mneme::loader
