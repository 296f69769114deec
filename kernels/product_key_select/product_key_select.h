// The second half of a product-key lookup: from the top-k rows and top-k columns of each head to
// its top-k of the k × k grid points, and their addresses in the value table.
//
// For head h, candidates i (rows) and j (columns) with scores S1 = score[t, ((h*2 + 0)*k + i)*rank
// ..], S2 = score[t, ((h*2 + 1)*k + j)*rank ..]:
//   kTucker: score_c = Σ_ρ (Σ_σ S1[σ] core[c,h,σ,ρ]) S2[ρ],  c < cores
//   kSum (Memory+; rank == 1, cores == 1, core ignored): score_0 = S1 + S2
// The top_k candidates by Σ_c score_c are kept, descending, ties by the lower i*top_k + j. Of
// selection s = h*top_k + (place):
//   grid[t,s] = row * key_count + column,  row and column from index
//   raw_score[t, s*cores + c] = score_c
//   weight[t, s*cores + c] = score_c (kTucker), softmax of score_0 over the head's top_k (kSum)
//   virtual = shuffle ? shuffle[grid] : grid
//   group[t,s] = virtual / window,  slot[t,s] = (virtual % window + offset) % slots
//
// index: [tokens, heads*2*top_k] i32; score: [tokens, heads*2*top_k*rank] f32: as
// product_key_candidates.h writes them. core: [cores, heads, rank, rank] f32. shuffle: a
// permutation of [0, key_count²) or null. grid, slot, group: [tokens, heads*top_k] i32. raw_score:
// [tokens, heads*top_k*cores] f32; weight: the same shape, for kTucker it may be empty (raw_score
// is the weight). scratch: ProductKeySelectScratchBytes() bytes, 64-byte aligned. Aliasing: weight
// may be raw_score; otherwise outputs overlap nothing. Batch invariance: a token's outputs do not
// depend on others. NaN scores never abort: addresses stay in range, their order is then
// unspecified. Threads: calls with different outputs and scratch may run at once. Errors: none.
// Allocates nothing. REQUIRES: window > 0, offset >= 0, slots > 0, rank <= 8, cores <= 8,
// key_count² < 2^31. Source: the official UltraMem layers (tucker refinement, shuffled virtual
// addresses).
#ifndef MNEME_KERNELS_PRODUCT_KEY_SELECT_PRODUCT_KEY_SELECT_H_
#define MNEME_KERNELS_PRODUCT_KEY_SELECT_PRODUCT_KEY_SELECT_H_

#include <cstdint>

#include "kernels/device/isa.h"
#include "kernels/tensor/tensor.h"
#include "kernels/traffic/traffic.h"

namespace mneme::kernels {

enum class ProductKeyMode : uint8_t { kTucker, kSum };

struct ProductKeySelectArgs {
  ProductKeyMode mode = ProductKeyMode::kTucker;
  Matrix<const int32_t> index;
  Matrix<const float> score;
  int32_t heads = 0;
  int32_t top_k = 0;
  int32_t rank = 1;
  int32_t cores = 1;
  int32_t key_count = 0;
  const float* core = nullptr;
  const int32_t* shuffle = nullptr;
  int64_t window = 1;
  int64_t offset = 0;
  int64_t slots = 1;
  Matrix<int32_t> grid;
  Matrix<float> raw_score;
  Matrix<float> weight;
  Matrix<int32_t> slot;
  Matrix<int32_t> group;
  uint8_t* scratch = nullptr;
};

// Returns kKeys read (cores, once; a shuffle entry per selection) and kActivations (index and score
// read; all outputs written).
using ProductKeySelectFn = Traffic (*)(const ProductKeySelectArgs&);

// For one token and head; independent of the number of tokens.
int64_t ProductKeySelectScratchBytes(int32_t top_k, int32_t rank, int32_t cores);

// Plain loops, float32: the definition. Needs no scratch.
Traffic ProductKeySelectReference(const ProductKeySelectArgs& args);

ProductKeySelectFn ResolveProductKeySelect(Isa isa);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_PRODUCT_KEY_SELECT_PRODUCT_KEY_SELECT_H_
