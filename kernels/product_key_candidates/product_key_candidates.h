// The first half of a product-key lookup: scores of every row key and column key of a head, and the
// top-k of each. Scores never leave the scratch memory.
//
// For head h, side j (0: rows, 1: columns), key r, rank ρ, with the query chunk
//   q = query[t, c*key_dim ..],  c = 2 * (h / heads_per_group) + j:
//   score[ρ] = inverse_norm[h,j,r,ρ] * (Σ_k q_k w_k keys[h,j,r,k,ρ] - mean[h,j,r,ρ] Σ_k q_k w_k)
//              + Σ_k q_k b_k
//   preselect = Σ_ρ score[ρ] * d[h,ρ],  d = row_direction (rows) or column_direction (columns)
// i.e. the dot of q with the normed key (weight w, bias b), without a normed copy of the keys.
// inverse_norm null: no key norm, score is the plain dot (mean, w and b are then ignored); mean
// null: rms norm; w null: ones; b null: zeros; directions null: REQUIRES rank == 1, preselect =
// score. Kept are the top_k keys by preselect, descending, ties by lower index; in that order:
//   index[t, (h*2 + j)*top_k + i] = first_key + r,
//   score[t, ((h*2 + j)*top_k + i)*rank + ρ] = score[ρ].
// A rank of several may have key_count keys of each side, from first_key on; they may lie in the
// whole keys' memory, key_stride keys from one side's to the next one's. A score depends on its key
// alone, so the best of all ranks' candidates (product_key_merge.h) are the whole's, bit for bit.
//
// query: [tokens, chunks*key_dim] f32, already normed. keys: as stored, [heads*2*key_count,
// key_dim*rank] (k-major, ρ innermost), f32 or bf16, rows contiguous (row_stride = cols).
// With a key_stride, keys, inverse_norm and mean begin at the first own key of head 0, side 0.
// inverse_norm, mean: [heads, 2, key_count, rank] f32. norm_weight, norm_bias: [key_dim] f32.
// row_direction, column_direction: [heads, rank] f32.
// scratch: ProductKeyCandidatesScratchBytes() bytes, 64-byte aligned.
// Aliasing: outputs overlap nothing. Batch invariance: a token's outputs do not depend on others.
// NaN scores never abort: indices stay in range, their order is then unspecified.
// Threads: calls with different outputs and scratch may run at once.
// Errors: none. Allocates nothing. REQUIRES: 1 <= top_k <= key_count, rank <= 8.
// Source: the official UltraMem layers (tucker rank-1 preselection over query-key dot products).
#ifndef MNEME_KERNELS_PRODUCT_KEY_CANDIDATES_PRODUCT_KEY_CANDIDATES_H_
#define MNEME_KERNELS_PRODUCT_KEY_CANDIDATES_PRODUCT_KEY_CANDIDATES_H_

#include <cstdint>

#include "kernels/device/isa.h"
#include "kernels/tensor/tensor.h"
#include "kernels/traffic/traffic.h"

namespace mneme::kernels {

struct ProductKeyCandidatesArgs {
  Matrix<const float> query;
  TensorView keys;
  int32_t heads = 0;
  int32_t heads_per_group = 1;
  int32_t key_count = 0;
  int32_t key_stride = 0;  // 0: key_count
  int32_t first_key = 0;
  int32_t key_dim = 0;
  int32_t rank = 1;
  int32_t top_k = 0;
  const float* inverse_norm = nullptr;
  const float* mean = nullptr;
  const float* norm_weight = nullptr;
  const float* norm_bias = nullptr;
  const float* row_direction = nullptr;
  const float* column_direction = nullptr;
  Matrix<int32_t> index;
  Matrix<float> score;
  uint8_t* scratch = nullptr;
};

// Returns kKeys read (keys, norm factors, directions: once, however many tokens) and kActivations
// (query read; index and score written).
using ProductKeyCandidatesFn = Traffic (*)(const ProductKeyCandidatesArgs&);

struct ProductKeyCandidatesShape {
  int32_t heads = 0;
  int32_t key_count = 0;
  int32_t key_dim = 0;
  int32_t rank = 1;
  int32_t top_k = 0;
};

// A few tens of KiB, whatever the number of tokens: the running top-k of a token lives in its
// outputs, and keys are walked in blocks that every token meets while they are in L2.
int64_t ProductKeyCandidatesScratchBytes(int64_t tokens, const ProductKeyCandidatesShape& shape);

// Plain loops, float32: the definition. Needs no scratch.
Traffic ProductKeyCandidatesReference(const ProductKeyCandidatesArgs& args);

// keys: kF32 or kBf16; nullptr for another type.
ProductKeyCandidatesFn ResolveProductKeyCandidates(DType keys, Isa isa);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_PRODUCT_KEY_CANDIDATES_PRODUCT_KEY_CANDIDATES_H_
