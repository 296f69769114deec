// A memory layer's value table, or what one rank has of it: some of the columns, some of the rows.
// Trivially copyable; owns nothing.
#ifndef MNEME_KERNELS_VALUE_GATHER_VALUE_TABLE_H_
#define MNEME_KERNELS_VALUE_GATHER_VALUE_TABLE_H_

#include <cstdint>

#include "kernels/tensor/tensor.h"

namespace mneme::kernels {

// Row r, at data + r*row_stride_bytes, holds pre-values, then values, f32 or bf16, so that one
// selection is one contiguous read. Rows should be 64-byte aligned (any alignment that suits the
// type works, slower) and lie in huge pages.
struct ValueTable {
  const uint8_t* data = nullptr;
  int64_t rows = 0;  // in memory
  int64_t row_stride_bytes = 0;
  DType dtype = DType::kF32;
  // Those that are here. Of a whole row they lie at its start, one behind the other; some columns
  // of a row that is whole in memory lie further on.
  int32_t pre_width = 0;
  int32_t width = 0;
  int32_t pre_offset = 0;     // elements before the first pre-value
  int32_t value_offset = -1;  // elements before the first value; -1: pre_width

  const uint8_t* row(int64_t r) const { return data + r * row_stride_bytes; }
  int64_t value_start() const { return value_offset < 0 ? pre_width : value_offset; }
  // Bytes of a row that are read (padding is not).
  int64_t row_bytes() const { return (int64_t{pre_width} + width) * DTypeBytes(dtype); }
};

// Which rows of a table are a rank's own: blocks of 2^block_shift rows go to the ranks in turn
// (windows of successive layers are contiguous, so contiguous shares would give a layer to one
// rank). Own rows lie in memory where they lie in the whole table, or, packed, one block behind the
// other. Both keep the order of rows, so both give the same bits.
struct RowShare {
  int32_t rank = 0;
  int32_t ranks = 1;
  int32_t block_shift = 0;
  bool packed = false;

  bool Has(int64_t row) const { return ranks == 1 || (row >> block_shift) % ranks == rank; }
  // Where an own row is in memory. REQUIRES: Has(row).
  int64_t InMemory(int64_t row) const {
    if (!packed || ranks == 1) return row;
    const int64_t in_block = row & ((int64_t{1} << block_shift) - 1);
    return (((row >> block_shift) / ranks) << block_shift) + in_block;
  }
  // How many of `all` rows are the rank's: the last block may be short.
  int64_t Count(int64_t all) const {
    const int64_t block = int64_t{1} << block_shift;
    const int64_t rest = all % (block * ranks) - rank * block;
    return all / (block * ranks) * block + (rest < 0 ? 0 : rest > block ? block : rest);
  }
};

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_VALUE_GATHER_VALUE_TABLE_H_
