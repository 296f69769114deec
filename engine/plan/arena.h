// Places buffers with known lifetimes in one block of memory so that those alive at the same time
// do not overlap.
#ifndef MNEME_ENGINE_PLAN_ARENA_H_
#define MNEME_ENGINE_PLAN_ARENA_H_

#include <cstdint>
#include <vector>

namespace mneme::plan {

// A buffer alive from the operator that writes it to the last one that reads it, both included.
struct Lifetime {
  int32_t first = 0;
  int32_t last = 0;
  int64_t bytes = 0;
};

struct Placement {
  std::vector<int64_t> offsets;  // of each lifetime, multiples of kArenaAlignment
  int64_t bytes = 0;             // of the whole arena
};

inline constexpr int64_t kArenaAlignment = 64;

// Largest first, each at the lowest offset where it fits: within a few percent of the peak for
// transformer graphs, and deterministic.
Placement PlaceInArena(const std::vector<Lifetime>& lifetimes);

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_ARENA_H_
