// The bytes of native tensors, made from a checkpoint a few rows at a time: those that
// PackedWeights::Pack would serve, whatever the weight is.
#ifndef MNEME_LOADER_NATIVE_WEIGHT_ROWS_H_
#define MNEME_LOADER_NATIVE_WEIGHT_ROWS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "loader/checkpoint/checkpoint.h"
#include "loader/native/manifest.h"
#include "loader/pack/served_form.h"

namespace mneme::loader {

// Not thread safe. Holds, of the norms of keys, those it was last asked for: asked in the order of
// a ShardPlan it computes each once. Rows of the RoPE tables are computed as they are asked for,
// with as much memory again.
class WeightRows {
 public:
  // `checkpoint` outlives it.
  WeightRows(const Checkpoint& checkpoint, const PackOptions& options)
      : checkpoint_(checkpoint), options_(options) {}

  // Rows [first, first + rows) of a tensor of the weight: rows * shape.row_bytes() bytes, a table's
  // padding zeroed. Pages of the source that were read are given back.
  // REQUIRES: shape is id's NativeShape with these options, `tensor` and the rows are in it; out is
  // aligned to 64 bytes.
  void Read(const WeightId& id, const ManifestWeight& shape, int64_t tensor, int64_t first,
            int64_t rows, uint8_t* out);

 private:
  void Forget();  // the norms
  void ReadRope(bool cosines, int64_t first, int64_t rows, float* out);
  std::span<const float> KeyNorm(const WeightId& id);
  void ReadTable(const WeightSource& source, const ManifestWeight& shape, int64_t first,
                 int64_t rows, uint8_t* out);
  // Of parts one on another.
  void ReadParts(const WeightSource& source, const Conversion& conversion, int64_t first,
                 int64_t rows, uint8_t* out);

  const Checkpoint& checkpoint_;
  const PackOptions options_;
  std::optional<WeightId> computed_;  // which weight norms_ is
  std::vector<float> norms_;
};

}  // namespace mneme::loader

#endif  // MNEME_LOADER_NATIVE_WEIGHT_ROWS_H_
