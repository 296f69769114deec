// Weights in the form the kernels read, for one process. Most are views into the checkpoint's
// mapped files (no copy): of a native checkpoint all of them. Of any other one value tables become
// interleaved rows on huge pages, small vectors are widened to float32, and computed weights (RoPE
// tables, key norms, 32-bit shuffles) are computed here.
#ifndef MNEME_LOADER_PACK_PACKED_WEIGHTS_H_
#define MNEME_LOADER_PACK_PACKED_WEIGHTS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/device/buffer.h"
#include "kernels/tensor/tensor.h"
#include "loader/checkpoint/checkpoint.h"
#include "loader/pack/packed_weight.h"
#include "loader/pack/served_form.h"
#include "loader/pack/weight_slice.h"

namespace mneme::loader {

// A weight to be made up: what a plan says of it.
struct GeneratedWeight {
  WeightId id;
  kernels::DType dtype = kernels::DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t table_row_bytes = 0;  // of a value table, padding included; else 0
  int64_t stack = 0;            // of stacked matrices: how many the rows make up; else 0
  int64_t pre_cols = 0;         // of a value table: columns that are pre-values
  bool part = false;            // PackedWeight::part
};

class PackedWeights {
 public:
  // Packs the weights `ids` of `checkpoint` (ids it has no source for: INVALID_ARGUMENT by name).
  // Peak memory: the files, the tables, and small pieces; source pages are not touched twice.
  static absl::StatusOr<PackedWeights> Pack(const Checkpoint& checkpoint,
                                            const std::vector<WeightId>& ids,
                                            const PackOptions& options);
  // The same, but of the weights that `slices` names only these parts are kept, where keeping them
  // by themselves saves memory (PackedWeight::part): rows of a matrix that is used in place stay a
  // view of the whole, of which only what is read takes memory.
  static absl::StatusOr<PackedWeights> Pack(const Checkpoint& checkpoint,
                                            const std::vector<WeightId>& ids,
                                            const std::map<WeightId, WeightSlice>& slices,
                                            const PackOptions& options);
  // Weights of `model` that are nothing but numbers of a sensible size, in the form that packed
  // ones have: to measure a model that is not there. The same seed gives the same numbers.
  // RESOURCE_EXHAUSTED with the bytes when the system refuses.
  static absl::StatusOr<PackedWeights> Generate(const ModelDescription& model,
                                                const std::vector<GeneratedWeight>& weights,
                                                uint64_t seed);
  // REQUIRES: id was among the packed ones.
  const PackedWeight& at(const WeightId& id) const;
  int64_t owned_bytes() const;

 private:
  std::map<WeightId, PackedWeight> weights_;
  std::vector<kernels::Buffer> buffers_;
  std::shared_ptr<const TensorFiles> files_;
};

}  // namespace mneme::loader

#endif  // MNEME_LOADER_PACK_PACKED_WEIGHTS_H_
