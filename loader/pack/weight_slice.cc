#include "loader/pack/weight_slice.h"

#include <algorithm>

namespace mneme::loader {

std::vector<RowRun> RowRuns(const WeightSlice& slice, int64_t rows) {
  std::vector<RowRun> runs;
  if (slice.block > 0) {
    const int64_t cycle = slice.block * slice.ranks;
    for (int64_t first = slice.rank * slice.block; first < rows; first += cycle) {
      runs.push_back({first, std::min(slice.block, rows - first)});
    }
    return runs;
  }
  if (slice.rows.all()) return {{0, rows}};
  const int64_t chunk = rows / slice.rows.chunks;
  for (int64_t i = 0; i < slice.rows.chunks; ++i) {
    runs.push_back({i * chunk + slice.rows.first, slice.rows.size});
  }
  return runs;
}

}  // namespace mneme::loader
