// The best product-key candidates of several ranks' (product_key_candidates.h) that have some of
// the keys each: what one rank with all keys would have found, bit for bit.
//
// For each token, head h and side j: the top_k entries of all parts by
//   preselect = Σ_ρ score[ρ] * d[h,ρ],  d = row_direction (rows) or column_direction (columns)
// descending, ties by the lower index; directions null: REQUIRES rank == 1, preselect = score. The
// sum is the candidates kernel's, operation for operation, so the order is too.
//
// parts: by ascending keys: every index of a part is below every one of the next. Part p has top_k
// candidates of each head and side, sorted as the candidates kernel leaves them: index [tokens,
// heads*2*part.top_k] i32, score [tokens, heads*2*part.top_k*rank] f32, rows one behind the other.
// index: [tokens, heads*2*top_k] i32. score: [tokens, heads*2*top_k*rank] f32. row_direction,
// column_direction: [heads, rank] f32.
// Aliasing: outputs overlap nothing. Batch invariance: a token's outputs do not depend on others.
// NaN scores never abort: every entry is one of the parts', their order is then unspecified.
// Threads: calls with different outputs may run at once. Errors: none. Allocates nothing.
// REQUIRES: the parts have at least top_k candidates together, part.top_k <= top_k, at most
// kMostMergeParts parts, rank <= 8. Source: the official UltraMem layers (tucker rank-1
// preselection), over ranks.
#ifndef MNEME_KERNELS_PRODUCT_KEY_MERGE_PRODUCT_KEY_MERGE_H_
#define MNEME_KERNELS_PRODUCT_KEY_MERGE_PRODUCT_KEY_MERGE_H_

#include <cstdint>
#include <span>

#include "kernels/tensor/tensor.h"
#include "kernels/traffic/traffic.h"

namespace mneme::kernels {

inline constexpr int32_t kMostMergeParts = 64;

struct ProductKeyMergePart {
  const int32_t* index = nullptr;
  const float* score = nullptr;
  int32_t top_k = 0;
};

struct ProductKeyMergeArgs {
  std::span<const ProductKeyMergePart> parts;
  int32_t own_part = 0;  // the caller's, which it reads from its own registers
  int32_t heads = 0;
  int32_t rank = 1;
  int32_t top_k = 0;
  const float* row_direction = nullptr;
  const float* column_direction = nullptr;
  Matrix<int32_t> index;
  Matrix<float> score;
};

// Returns kKeys read (directions, once), kActivations (the own part read; index and score written)
// and kExchange (the other parts read). Parts are counted whole.
using ProductKeyMergeFn = Traffic (*)(const ProductKeyMergeArgs&);

// The definition: every candidate against every other.
Traffic ProductKeyMergeReference(const ProductKeyMergeArgs& args);

// A merge of sorted lists; the same on every instruction set.
Traffic ProductKeyMerge(const ProductKeyMergeArgs& args);

// What any implementation reports.
Traffic ProductKeyMergeTraffic(const ProductKeyMergeArgs& args);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_PRODUCT_KEY_MERGE_PRODUCT_KEY_MERGE_H_
