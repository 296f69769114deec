// In which form a weight is served, whether it is packed at load or was converted before.
#ifndef MNEME_LOADER_PACK_SERVED_FORM_H_
#define MNEME_LOADER_PACK_SERVED_FORM_H_

#include <cstdint>

#include "loader/checkpoint/stored_tensor.h"
#include "loader/model/weight_role.h"
#include "loader/pack/matrix_packer.h"

namespace mneme::loader {

struct PackOptions {
  // Rounds f32 matrices, keys and tables to bf16 at load (as if the checkpoint had been stored so).
  bool round_to_bf16 = false;
  // Widens bf16 to f32: the reference for a rounded model.
  bool widen_to_f32 = false;
  // What is copied lies on huge pages: value tables, and matrices from 2 MiB on.
  bool huge_pages = true;
  // Tables and matrices that could stay where their files are mapped are copied, too.
  bool copy_mapped = false;
};

// Roles that are float32 whatever the checkpoint holds: vectors, directions and cores.
bool IsSmall(Role role);

// Roles whose matrices are stacked (PackedWeight::stack): the experts'.
bool IsStacked(Role role);

// What a matrix, key or table of this stored dtype is served as.
Conversion MatrixConversion(StoredDType stored, const PackOptions& options);

// Bytes from one row of a value table to the next, for so many elements of pre-values and values:
// whole cache lines.
int64_t TableRowStride(int64_t elements, kernels::DType dtype);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_PACK_SERVED_FORM_H_
