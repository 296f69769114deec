// Where in a checkpoint's tensors a weight lies.
#ifndef MNEME_LOADER_CHECKPOINT_WEIGHT_SOURCE_H_
#define MNEME_LOADER_CHECKPOINT_WEIGHT_SOURCE_H_

#include <cstdint>
#include <map>
#include <vector>

#include "loader/checkpoint/stored_tensor.h"
#include "loader/model/weight_role.h"

namespace mneme::loader {

// Where a weight comes from: rows [first_row, first_row + rows) of a stored tensor seen as a matrix
// (a vector is one column of rows), and of each row the columns [first_col, first_col + cols).
// kMemoryTable has two parts, pre-values then values, in one tensor each or side by side in one;
// kMemoryCores has one part per core, or one for all; stacked matrices (the experts') have one part
// each; every other weight has one part. Computed roles (RoPE tables, key norms) list the tensors
// they are computed from, or none.
struct WeightSource {
  struct Part {
    const StoredTensor* tensor = nullptr;
    int64_t first_row = 0;
    int64_t rows = 0;
    // Columns of the matrix: rows * cols elements are the part.
    int64_t cols = 0;
    int64_t first_col = 0;
    int64_t stride = 0;  // elements from a row to the next; 0: cols

    int64_t row_stride() const { return stride == 0 ? cols : stride; }
    // The first element of row `row` of the part.
    int64_t Element(int64_t row) const { return (first_row + row) * row_stride() + first_col; }
    const uint8_t* Row(int64_t row) const {
      return tensor->bytes.data() + Element(row) * StoredDTypeBytes(tensor->dtype);
    }
  };
  std::vector<Part> parts;
  // Of a computed role, what was computed when the checkpoint was converted, if it was: F32, and
  // right as long as the parts are served as they are stored.
  const StoredTensor* computed = nullptr;
};

// kBf16 where all parts are, else kF32: what holds every one of them exactly.
// REQUIRES: parts of dtype F32, BF16 or F16, or one part of another dtype, which is returned.
inline StoredDType DTypeOf(const WeightSource& source) {
  for (const WeightSource::Part& part : source.parts) {
    const StoredDType dtype = part.tensor->dtype;
    if (dtype != StoredDType::kBf16) return dtype == StoredDType::kF16 ? StoredDType::kF32 : dtype;
  }
  return StoredDType::kBf16;
}

using WeightSources = std::map<WeightId, WeightSource>;

}  // namespace mneme::loader

#endif  // MNEME_LOADER_CHECKPOINT_WEIGHT_SOURCE_H_
