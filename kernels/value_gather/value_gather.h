// The value lookup of a memory layer: a weighted sum of the table rows that a token selected.
//
//   y[t, g*width + d] = Σ over t's selections s whose group is g, in ascending (slot, s), of
//                       weight[t, s*cores + d / (width/cores)] * a * value[slot[t,s]][d]
//   a = f(pre[slot[t,s]] · pre_query[t,:]),  f = exact gelu if gelu_pre_score, else identity;
//   a = f(pre_score[t,s]) where pre_score is given (the pre-values are then not read);
//   a = 1 where neither is there.
// With expand_groups == 1 all selections are of group 0 and `group` is not read.
//
// A rank of several may compute an addend of y, or some of its columns: of the selections, those
// whose row `share` has; of the values, table.width columns from first_col of table_width (the d
// above is then first_col + a column of y's group, and width/cores is table_width/cores). The
// pre-score is not linear in the pre-values that a rank has, so with some columns of these
// pre_score is given.
//
// table: value_table.h. pre_query: [tokens, pre_width] f32, empty without pre-values or with
// pre_score. pre_score: [tokens, selections] f32 or empty. slot, group: [tokens, selections] i32.
// weight: [tokens, selections*cores] f32. y: [tokens, width*expand_groups] f32, overwritten.
// token_bytes: [tokens] or null; a row that u tokens selected adds bytes/u to each of them.
// scratch: ValueGatherScratchBytes() bytes, 64-byte aligned. Aliasing: y overlaps nothing.
// Rows are grouped over the whole call: each distinct row is read from the table once, however many
// tokens selected it. The order of a token's sum is fixed by its slots alone, so grouping changes
// no bits: alone or in any batch a token's output is the same. Threads: calls with different y and
// scratch may run at once. Errors: none. Allocates nothing. REQUIRES: slot >= 0, rows that share
// has are in the table, 0 <= group < expand_groups, table_width % cores == 0, cores <= 8,
// tokens*selections < 2^31, table.pre_width == 0 where pre_score is given. Source: the official
// UltraMem layers (core-sliced embedding bag with pre-scores).
#ifndef MNEME_KERNELS_VALUE_GATHER_VALUE_GATHER_H_
#define MNEME_KERNELS_VALUE_GATHER_VALUE_GATHER_H_

#include <cstdint>

#include "kernels/device/isa.h"
#include "kernels/tensor/tensor.h"
#include "kernels/traffic/traffic.h"
#include "kernels/value_gather/value_table.h"

namespace mneme::kernels {

struct ValueGatherArgs {
  ValueTable table;
  RowShare share = {};
  Matrix<const float> pre_query;
  Matrix<const float> pre_score;
  Matrix<const int32_t> slot;
  Matrix<const int32_t> group;
  Matrix<const float> weight;
  int32_t cores = 1;
  int32_t expand_groups = 1;
  bool gelu_pre_score = false;
  int32_t first_col = 0;
  int32_t table_width = 0;  // 0: table.width
  Matrix<float> y;
  uint8_t* scratch = nullptr;
  double* token_bytes = nullptr;
};

// Returns kValueRows read (distinct rows * row_bytes()) and kActivations (pre_query and slot; of
// the selections that share has, group, weight and pre_score; y written).
using ValueGatherFn = Traffic (*)(const ValueGatherArgs&);

// Two sort keys of 8 bytes per selection, and the sort's counters.
int64_t ValueGatherScratchBytes(int64_t tokens, int32_t selections);

// Plain loops, float32: the definition. Needs no scratch.
Traffic ValueGatherReference(const ValueGatherArgs& args);

// table: kF32 or kBf16; nullptr for another type.
ValueGatherFn ResolveValueGather(DType table, Isa isa);

// Asks for the rows of `share` that the selections name, long before the gather reads them. slot:
// [tokens, selections]. Only hints: touches no row, changes nothing; stops after
// kValuePrefetchBytes, what a core's L2 can hold until then.
struct ValuePrefetchArgs {
  ValueTable table;
  RowShare share = {};
  Matrix<const int32_t> slot;
};
inline constexpr int64_t kValuePrefetchBytes = int64_t{512} << 10;

// Returns an empty Traffic: the gather counts the bytes.
Traffic ValuePrefetch(const ValuePrefetchArgs& args);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_VALUE_GATHER_VALUE_GATHER_H_
