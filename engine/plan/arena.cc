#include "engine/plan/arena.h"

#include <algorithm>
#include <numeric>

namespace mneme::plan {
namespace {

int64_t Aligned(int64_t bytes) {
  return (bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
}

bool Overlap(const Lifetime& a, const Lifetime& b) {
  return a.first <= b.last && b.first <= a.last;
}

}  // namespace

Placement PlaceInArena(const std::vector<Lifetime>& lifetimes) {
  std::vector<size_t> order(lifetimes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return lifetimes[a].bytes > lifetimes[b].bytes; });

  Placement placement;
  placement.offsets.assign(lifetimes.size(), 0);
  std::vector<size_t> placed;
  for (size_t i : order) {
    std::vector<size_t> neighbours;
    for (size_t j : placed) {
      if (Overlap(lifetimes[i], lifetimes[j])) neighbours.push_back(j);
    }
    std::sort(neighbours.begin(), neighbours.end(),
              [&](size_t a, size_t b) { return placement.offsets[a] < placement.offsets[b]; });
    int64_t offset = 0;
    const int64_t bytes = Aligned(lifetimes[i].bytes);
    for (size_t j : neighbours) {
      if (offset + bytes <= placement.offsets[j]) break;
      offset = std::max(offset, placement.offsets[j] + Aligned(lifetimes[j].bytes));
    }
    placement.offsets[i] = offset;
    placement.bytes = std::max(placement.bytes, offset + bytes);
    placed.push_back(i);
  }
  return placement;
}

}  // namespace mneme::plan
