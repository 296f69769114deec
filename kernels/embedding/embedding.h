// y[t,:] = table[ids[t] - first_row,:], widened to f32; zeros where the table has no such row.
//
// ids: [tokens]. table: [rows, dim] f32 or bf16, any row stride: rows [first_row, first_row + rows)
// of the vocabulary, all of it or a rank's share. Over ranks that divide the vocabulary each
// element of y is zero on all but one, so their sum is exact in any order. y: [tokens, dim] f32,
// any row stride. REQUIRES: ids[t] >= 0; ids.size() == y.rows; table.cols == y.cols.
//
// Aliasing: y overlaps nothing. Exact: no rounding on any instruction set.
// Threads: one; distinct calls share nothing. Errors: none (ids are checked where requests enter).
// Allocates nothing. Traffic: a row per token whose row the table has (dense weights), ids and y
// (activations).
#ifndef MNEME_KERNELS_EMBEDDING_EMBEDDING_H_
#define MNEME_KERNELS_EMBEDDING_EMBEDDING_H_

#include <span>

#include "kernels/device/isa.h"
#include "kernels/tensor/tensor.h"
#include "kernels/traffic/traffic.h"

namespace mneme::kernels {

struct EmbeddingArgs {
  std::span<const int32_t> ids;  // [tokens]
  TensorView table;              // [rows, dim] f32 or bf16
  int64_t first_row = 0;         // the table's, in the vocabulary
  Matrix<float> y;               // [tokens, dim]

  bool has(int32_t id) const { return id >= first_row && id < first_row + table.rows; }
};

using EmbeddingFn = Traffic (*)(const EmbeddingArgs&);

// The definition in plain loops; table f32 or bf16.
Traffic EmbeddingReference(const EmbeddingArgs& args);

// The implementation for tables of that dtype. REQUIRES: table is kF32 or kBf16;
// isa <= DetectIsa() when the result is called.
EmbeddingFn ResolveEmbedding(DType table, Isa isa);

// What any implementation reports for these arguments.
Traffic EmbeddingTraffic(const EmbeddingArgs& args);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_EMBEDDING_EMBEDDING_H_
