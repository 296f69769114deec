// Packs weights one by one into buffers of its own: what PackedWeights::Pack does for each.
#ifndef MNEME_LOADER_PACK_PACKER_H_
#define MNEME_LOADER_PACK_PACKER_H_

#include <cstdint>
#include <map>
#include <optional>
#include <tuple>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/device/buffer.h"
#include "loader/checkpoint/checkpoint.h"
#include "loader/pack/matrix_packer.h"
#include "loader/pack/packed_weight.h"
#include "loader/pack/served_form.h"
#include "loader/pack/weight_slice.h"

namespace mneme::loader {

class Packer {
 public:
  // Both outlive the packer.
  Packer(const Checkpoint& checkpoint, const PackOptions& options)
      : checkpoint_(checkpoint), options_(options) {}

  // A weight of the checkpoint, or what the slice keeps of it. What StaysInPlace is a view into
  // the files, anything else a copy in one of the buffers. RESOURCE_EXHAUSTED with the bytes when
  // the system refuses one.
  absl::StatusOr<PackedWeight> PackOne(const WeightId& id, const WeightSource& source,
                                       const WeightSlice& slice);

  std::vector<kernels::Buffer> TakeBuffers() { return std::move(buffers_); }

 private:
  using CopyKey = std::tuple<const StoredTensor*, int64_t, int64_t, kernels::DType>;

  absl::StatusOr<uint8_t*> Allocate(int64_t bytes, bool huge);
  absl::StatusOr<PackedWeight> NewMatrix(kernels::DType dtype, int64_t rows, int64_t cols);
  absl::StatusOr<PackedWeight> PackRope(bool cosine);
  absl::StatusOr<PackedWeight> PackKeyNorm(const WeightId& id, const WeightSource& source,
                                           const WeightSlice& slice);
  absl::StatusOr<PackedWeight> PackShuffleIndex(const WeightSource::Part& part);
  absl::StatusOr<PackedWeight> PackTable(const WeightSource& source, const WeightSlice& slice);
  absl::StatusOr<PackedWeight> PackMatrixPart(const WeightSource::Part& source,
                                              const WeightSlice& slice,
                                              const Conversion& conversion);
  absl::StatusOr<PackedWeight> PackParts(const WeightSource& source, const Conversion& conversion);
  absl::StatusOr<PackedWeight> PackStack(const WeightSource& source, const WeightSlice& slice,
                                         const Conversion& conversion);
  PackedWeight ViewInPlace(const WeightId& id, const WeightSource& source,
                           const Conversion& conversion) const;
  void PackRuns(const WeightSource::Part& source, const std::vector<RowRun>& runs,
                const AxisSlice& cols, const Conversion& conversion, uint8_t* out,
                int64_t stride_bytes);

  const Checkpoint& checkpoint_;
  const PackOptions& options_;
  std::vector<kernels::Buffer> buffers_;
  std::map<CopyKey, PackedWeight> copies_;
  std::optional<PackedWeight> rope_cos_;
  std::optional<PackedWeight> rope_sin_;
};

}  // namespace mneme::loader

#endif  // MNEME_LOADER_PACK_PACKER_H_
