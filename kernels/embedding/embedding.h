// y[t,:] = table[ids[t],:], widened to f32.
//
// ids: [tokens]. table: [vocabulary, dim] f32 or bf16, any row stride. y: [tokens, dim] f32, any
// row stride. REQUIRES: 0 <= ids[t] < table.rows; ids.size() == y.rows; table.cols == y.cols.
//
// Aliasing: y overlaps nothing. Exact: no rounding on any instruction set.
// Threads: one; distinct calls share nothing. Errors: none (ids are checked where requests enter).
// Allocates nothing. Traffic: a row of the table per token (dense weights), ids and y
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
  TensorView table;              // [vocabulary, dim] f32 or bf16
  Matrix<float> y;               // [tokens, dim]
};

using EmbeddingFn = Traffic (*)(const EmbeddingArgs&);

// The definition in plain loops; table f32 or bf16.
Traffic EmbeddingReference(const EmbeddingArgs& args);

// The implementation for tables of that dtype. REQUIRES: table is kF32 or kBf16;
// isa <= DetectIsa() when the result is called.
EmbeddingFn ResolveEmbedding(DType table, Isa isa);

// What any implementation reports for these shapes.
Traffic EmbeddingTraffic(const EmbeddingArgs& args);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_EMBEDDING_EMBEDDING_H_
