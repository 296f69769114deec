// The value lookup of a memory layer: a weighted sum of the table rows that a token selected.
//
//   y[t, g*width + d] = Σ over t's selections s whose group is g, in ascending (slot, s), of
//                       weight[t, s*cores + d / (width/cores)] * a * value[slot[t,s]][d]
//   a = f(pre[slot[t,s]] · pre_query[t,:]),  f = exact gelu if gelu_pre_score, else identity;
//   a = 1 when table.pre_width == 0.
// With expand_groups == 1 all selections are of group 0 and `group` is not read.
//
// The table is interleaved: row r, at data + r*row_stride_bytes, holds pre_width pre-values, then
// width values, f32 or bf16, so that one selection is one contiguous read. Rows should be 64-byte
// aligned (any alignment that suits the type works, slower) and lie in huge pages.
// pre_query: [tokens, pre_width] f32, empty when pre_width == 0. slot, group: [tokens, selections]
// i32. weight: [tokens, selections*cores] f32. y: [tokens, width*expand_groups] f32, overwritten.
// token_bytes: [tokens] or null; a row that u tokens selected adds bytes/u to each of them.
// scratch: ValueGatherScratchBytes() bytes, 64-byte aligned. Aliasing: y overlaps nothing.
// Rows are grouped over the whole call: each distinct row is read from the table once, however many
// tokens selected it. The order of a token's sum is fixed by its slots alone, so grouping changes
// no bits: alone or in any batch a token's output is the same. Threads: calls with different y and
// scratch may run at once. Errors: none. Allocates nothing. REQUIRES: 0 <= slot < table.rows, 0 <=
// group < expand_groups, width % cores == 0, cores <= 8, tokens*selections < 2^31. Source: the
// official UltraMem layers (core-sliced embedding bag with pre-scores).
#ifndef MNEME_KERNELS_VALUE_GATHER_VALUE_GATHER_H_
#define MNEME_KERNELS_VALUE_GATHER_VALUE_GATHER_H_

#include <cstdint>

#include "kernels/device/isa.h"
#include "kernels/tensor/tensor.h"
#include "kernels/traffic/traffic.h"

namespace mneme::kernels {

struct ValueTable {
  const uint8_t* data = nullptr;
  int64_t rows = 0;
  int64_t row_stride_bytes = 0;
  DType dtype = DType::kF32;
  int32_t pre_width = 0;
  int32_t width = 0;

  const uint8_t* row(int64_t r) const { return data + r * row_stride_bytes; }
  // Bytes of a row that are read (padding is not).
  int64_t row_bytes() const { return (int64_t{pre_width} + width) * DTypeBytes(dtype); }
};

struct ValueGatherArgs {
  ValueTable table;
  Matrix<const float> pre_query;
  Matrix<const int32_t> slot;
  Matrix<const int32_t> group;
  Matrix<const float> weight;
  int32_t cores = 1;
  int32_t expand_groups = 1;
  bool gelu_pre_score = false;
  Matrix<float> y;
  uint8_t* scratch = nullptr;
  double* token_bytes = nullptr;
};

// Returns kValueRows read (distinct rows * row_bytes()) and kActivations (pre_query, slot, group,
// weight read; y written).
using ValueGatherFn = Traffic (*)(const ValueGatherArgs&);

// Two sort keys of 8 bytes per selection, and the sort's counters.
int64_t ValueGatherScratchBytes(int64_t tokens, int32_t selections);

// Plain loops, float32: the definition. Needs no scratch.
Traffic ValueGatherReference(const ValueGatherArgs& args);

// table: kF32 or kBf16; nullptr for another type.
ValueGatherFn ResolveValueGather(DType table, Isa isa);

// Asks for the rows that the selections name, long before the gather reads them. slot: [tokens,
// selections]. Only hints: touches no row, changes nothing; stops after kValuePrefetchBytes, what a
// core's L2 can hold until then.
struct ValuePrefetchArgs {
  ValueTable table;
  Matrix<const int32_t> slot;
};
inline constexpr int64_t kValuePrefetchBytes = int64_t{512} << 10;

// Returns an empty Traffic: the gather counts the bytes.
Traffic ValuePrefetch(const ValuePrefetchArgs& args);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_VALUE_GATHER_VALUE_GATHER_H_
