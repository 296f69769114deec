#include "engine/plan/arena.h"

#include <random>

#include "gtest/gtest.h"

namespace mneme::plan {
namespace {

TEST(ArenaTest, BuffersThatDoNotMeetShareMemory) {
  const Placement p = PlaceInArena({{0, 1, 100}, {2, 3, 100}, {1, 2, 64}});
  EXPECT_EQ(p.offsets[0], p.offsets[1]);
  EXPECT_EQ(p.bytes, 128 + 64);
}

TEST(ArenaTest, RandomLifetimesNeverOverlapAndStayNearThePeak) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<Lifetime> lifetimes;
    const int count = 1 + random() % 40;
    for (int i = 0; i < count; ++i) {
      const int32_t first = random() % 50;
      lifetimes.push_back({first, first + static_cast<int32_t>(random() % 6),
                           1 + static_cast<int64_t>(random() % 5000)});
    }
    const Placement p = PlaceInArena(lifetimes);
    int64_t peak = 0;
    for (int32_t t = 0; t < 60; ++t) {
      int64_t alive = 0;
      for (const Lifetime& l : lifetimes) {
        if (l.first <= t && t <= l.last) alive += (l.bytes + 63) / 64 * 64;
      }
      peak = std::max(peak, alive);
    }
    EXPECT_GE(p.bytes, peak);
    EXPECT_LE(p.bytes, 2 * peak);
    for (int i = 0; i < count; ++i) {
      EXPECT_EQ(p.offsets[i] % kArenaAlignment, 0);
      EXPECT_LE(p.offsets[i] + lifetimes[i].bytes, p.bytes);
      for (int j = 0; j < i; ++j) {
        const bool meet =
            lifetimes[i].first <= lifetimes[j].last && lifetimes[j].first <= lifetimes[i].last;
        const bool apart = p.offsets[i] + lifetimes[i].bytes <= p.offsets[j] ||
                           p.offsets[j] + lifetimes[j].bytes <= p.offsets[i];
        EXPECT_TRUE(!meet || apart) << i << " and " << j;
      }
    }
  }
}

}  // namespace
}  // namespace mneme::plan
