// Rows of stored tensors written in another dtype, a few megabytes at a time, giving the source's
// pages back as it goes.
#ifndef MNEME_LOADER_PACK_MATRIX_PACKER_H_
#define MNEME_LOADER_PACK_MATRIX_PACKER_H_

#include <cstdint>

#include "kernels/tensor/tensor.h"
#include "loader/checkpoint/stored_tensor.h"
#include "loader/checkpoint/weight_source.h"
#include "loader/pack/float_reader.h"

namespace mneme::loader {

// What a stored dtype is served as.
struct Conversion {
  kernels::DType dtype = kernels::DType::kF32;  // of the result
  Rounding rounding = Rounding::kExact;         // before it

  // True when bytes are copied as they are.
  bool Copies(StoredDType stored) const;
};

// Row r of `part` → destination + r * stride_bytes, as `conversion` says. The source's pages are
// dropped behind the reader: they are read once.
// REQUIRES: part of dtype F32, BF16 or F16; dtype kF32 or kBf16; aligned destination rows.
void PackRows(const WeightSource::Part& part, const Conversion& conversion,
              const TensorFiles& files, uint8_t* destination, int64_t stride_bytes);
// The same of columns [first_col, first_col + cols) only.
void PackColumns(const WeightSource::Part& part, int64_t first_col, int64_t cols,
                 const Conversion& conversion, const TensorFiles& files, uint8_t* destination,
                 int64_t stride_bytes);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_PACK_MATRIX_PACKER_H_
