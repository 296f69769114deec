// The uses of a value table's rows in one call, grouped by row: what the operators that read the
// table share. A use is one selection of one token.
#ifndef MNEME_KERNELS_VALUE_GATHER_VALUE_USES_H_
#define MNEME_KERNELS_VALUE_GATHER_VALUE_USES_H_

#include <cstdint>
#include <span>

#include "kernels/tensor/tensor.h"
#include "kernels/value_gather/value_table.h"

namespace mneme::kernels {

// The row in memory in the upper half, token * selections + selection in the lower, so that
// ascending keys are ascending (slot, token, selection).
constexpr uint64_t UseKey(uint32_t row, uint32_t number) {
  return static_cast<uint64_t>(row) << 32 | number;
}
constexpr uint32_t UseRow(uint64_t key) { return static_cast<uint32_t>(key >> 32); }
constexpr uint32_t UseNumber(uint64_t key) { return static_cast<uint32_t>(key); }

// Two sort keys of 8 bytes per selection, and the sort's counters.
int64_t ValueUsesScratchBytes(int64_t tokens, int32_t selections);

// The uses of rows that `share` has, ascending. They lie in scratch (ValueUsesScratchBytes() bytes,
// 64-byte aligned). slot: [tokens, selections], of the whole table. REQUIRES: tokens * selections <
// 2^31. Threads: calls with different scratch may run at once. Allocates nothing.
std::span<const uint64_t> SortUses(Matrix<const int32_t> slot, const RowShare& share,
                                   uint8_t* scratch);

// How many distinct rows the sorted uses name. row_bytes of each are divided among the distinct
// tokens that use it and added to token_bytes [slot.rows], unless that is null.
int64_t ShareRows(std::span<const uint64_t> sorted, Matrix<const int32_t> slot, int64_t row_bytes,
                  double* token_bytes);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_VALUE_GATHER_VALUE_USES_H_
