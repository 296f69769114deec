// The pre-scores of a memory layer's selections, as a step of their own:
//
//   y[t,s] = pre[slot[t,s]] · pre_query[t,:]
//
// For ranks that have some columns of the pre-values each: the sum of their pre-scores over the
// ranks is the pre-score, to which the gather applies its gelu (value_gather.h, pre_score). Where a
// rank has all columns the gather computes it by itself, beside the values.
//
// table: value_table.h; its values are not read, and its width may be 0. pre_query: [tokens,
// table.pre_width] f32. slot: [tokens, selections] i32. y: [tokens, selections] f32, overwritten.
// token_bytes: [tokens] or null; a row that u tokens selected adds its pre-values' bytes/u to each.
// scratch: PreScoreScratchBytes() bytes, 64-byte aligned. Aliasing: y overlaps nothing. Each
// distinct row is read once, however many tokens selected it. Batch invariance: an output depends
// on its row and its token's query alone. Threads: calls with different y and scratch may run at
// once. Errors: none. Allocates nothing. REQUIRES: 0 <= slot < table.rows, tokens*selections <
// 2^31. Source: the official UltraMem layers (pre-values over parallel ranks).
#ifndef MNEME_KERNELS_PRE_SCORE_PRE_SCORE_H_
#define MNEME_KERNELS_PRE_SCORE_PRE_SCORE_H_

#include <cstdint>

#include "kernels/device/isa.h"
#include "kernels/tensor/tensor.h"
#include "kernels/traffic/traffic.h"
#include "kernels/value_gather/value_table.h"

namespace mneme::kernels {

struct PreScoreArgs {
  ValueTable table;
  Matrix<const float> pre_query;
  Matrix<const int32_t> slot;
  Matrix<float> y;
  uint8_t* scratch = nullptr;
  double* token_bytes = nullptr;
};

// Returns kValueRows read (distinct rows * pre_width) and kActivations (pre_query and slot read; y
// written).
using PreScoreFn = Traffic (*)(const PreScoreArgs&);

int64_t PreScoreScratchBytes(int64_t tokens, int32_t selections);

// Plain loops, float32: the definition. Needs the scratch too.
Traffic PreScoreReference(const PreScoreArgs& args);

// table: kF32 or kBf16; nullptr for another type.
PreScoreFn ResolvePreScore(DType table, Isa isa);

// What any implementation reports. distinct_rows: how many rows the call's selections name.
Traffic PreScoreTraffic(const PreScoreArgs& args, int64_t distinct_rows);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_PRE_SCORE_PRE_SCORE_H_
