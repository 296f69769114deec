// What one rank keeps of a weight, where it does not share memory with those that keep the rest.
#ifndef MNEME_LOADER_PACK_WEIGHT_SLICE_H_
#define MNEME_LOADER_PACK_WEIGHT_SLICE_H_

#include <cstdint>
#include <vector>

namespace mneme::loader {

// Elements [first, first + size) of each of `chunks` equal chunks of an axis, one behind the other;
// size < 0: all of the axis.
struct AxisSlice {
  int64_t first = 0;
  int64_t size = -1;
  int64_t chunks = 1;

  bool all() const { return size < 0; }
  // Of an axis of `whole` elements.
  int64_t Count(int64_t whole) const { return all() ? whole : size * chunks; }
};

struct WeightSlice {
  AxisSlice rows;
  AxisSlice cols;
  // Of a value table: its pre-values' columns, where `cols` are the values'.
  AxisSlice pre_cols;
  // Of a value table, rows dealt out in blocks of so many: row i is of rank (i / block) % ranks.
  // 0: `rows` say.
  int64_t block = 0;
  int32_t rank = 0;
  int32_t ranks = 1;
  // Of stacked matrices, which of them; rows and cols are then of each.
  AxisSlice matrices;

  // All of it.
  bool whole() const {
    return rows.all() && cols.all() && pre_cols.all() && matrices.all() && block == 0;
  }
};

// Rows [first, first + size).
struct RowRun {
  int64_t first = 0;
  int64_t size = 0;
};
// The rows that the slice keeps of `rows`, ascending.
std::vector<RowRun> RowRuns(const WeightSlice& slice, int64_t rows);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_PACK_WEIGHT_SLICE_H_
