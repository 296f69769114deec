// y[i,:] = x[rows[i],:].
//
// x: [tokens, cols] f32. rows: [selected], in any order, repeats allowed. y: [selected, cols] f32.
// Any row strides. REQUIRES: 0 <= rows[i] < x.rows, rows.size() == y.rows, x.cols == y.cols.
//
// Aliasing: y overlaps nothing. Exact: a copy on every instruction set.
// Threads: one; distinct calls share nothing. Errors: none. Allocates nothing.
// Traffic: rows, the selected rows of x, and y (activations).
#ifndef MNEME_KERNELS_SELECT_ROWS_SELECT_ROWS_H_
#define MNEME_KERNELS_SELECT_ROWS_SELECT_ROWS_H_

#include <span>

#include "kernels/device/isa.h"
#include "kernels/tensor/tensor.h"
#include "kernels/traffic/traffic.h"

namespace mneme::kernels {

struct SelectRowsArgs {
  Matrix<const float> x;          // [tokens, cols]
  std::span<const int32_t> rows;  // [selected]
  Matrix<float> y;                // [selected, cols]
};

using SelectRowsFn = Traffic (*)(const SelectRowsArgs&);

// The definition in plain loops.
Traffic SelectRowsReference(const SelectRowsArgs& args);

// One implementation serves every instruction set: memcpy picks its own.
SelectRowsFn ResolveSelectRows(Isa isa);

// What any implementation reports for these shapes.
Traffic SelectRowsTraffic(const SelectRowsArgs& args);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_SELECT_ROWS_SELECT_ROWS_H_
