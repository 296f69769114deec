// One weight in the form the kernels read.
#ifndef MNEME_LOADER_PACK_PACKED_WEIGHT_H_
#define MNEME_LOADER_PACK_PACKED_WEIGHT_H_

#include <cstdint>
#include <vector>

#include "kernels/tensor/tensor.h"

namespace mneme::loader {

// Layout of an interleaved value table: row r starts at data + r * row_stride_bytes (a multiple of
// 64), pre_width pre-values first, then width values, all of `dtype`.
struct PackedTable {
  const uint8_t* data = nullptr;
  int64_t rows = 0;
  int64_t row_stride_bytes = 0;
  kernels::DType dtype = kernels::DType::kF32;
  int32_t pre_width = 0;
  int32_t width = 0;
};

// One weight. `view` for all roles but kMemoryTable. Matrices keep the stored dtype (f32, bf16);
// vectors (one column: norms, biases), directions, cores and computed weights are f32; shuffles
// i32. Of stacked matrices (the experts' of a block) it is the first; all have its shape and
// stride.
struct PackedWeight {
  kernels::TensorView view;
  std::vector<const uint8_t*> stack;  // of stacked matrices: where each lies
  PackedTable table;
  bool in_place = false;  // a view into the mapped file
  int64_t bytes = 0;      // that this weight occupies (a table: all its rows)
  // Of a part of a weight whose split axis is several equal chunks: rows or columns from the part
  // of one chunk to that of the next, where it lies in the whole one's memory; 0: side by side.
  int64_t chunk_stride = 0;
  // It is a rank's part by itself, and there is no whole in this process.
  bool part = false;
};

}  // namespace mneme::loader

#endif  // MNEME_LOADER_PACK_PACKED_WEIGHT_H_
