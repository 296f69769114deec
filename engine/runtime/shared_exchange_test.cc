#include "engine/runtime/shared_exchange.h"

#include <unistd.h>

#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::runtime {
namespace {

using std::chrono::microseconds;

std::unique_ptr<SharedRegion> Region(int32_t ranks, int64_t arena_bytes = 64) {
  return *SharedRegion::Create(ranks, arena_bytes);
}

// What rank `from` gives to all others: its arena.
std::vector<ExchangeBlock> Whole(int32_t ranks) { return {size_t{1} * ranks, {0, 1, 64, 64}}; }

// Every rank writes, meets, reads what all wrote, and meets before it writes again.
void WriteAndRead(int32_t ranks, microseconds spin) {
  constexpr int kRounds = 500;
  const auto region = Region(ranks);
  std::vector<int> wrong(ranks);
  std::vector<std::thread> threads;
  for (int32_t rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      SharedExchange exchange(region.get(), rank, spin);
      int* own = reinterpret_cast<int*>(exchange.arena().data());
      for (int round = 0; round < kRounds; ++round) {
        for (int i = 0; i < 16; ++i) own[i] = round * ranks + rank;
        ASSERT_TRUE(exchange.Swap(Whole(ranks), Whole(ranks)));
        for (int32_t other = 0; other < ranks; ++other) {
          const int* theirs = reinterpret_cast<const int*>(exchange.ArenaOf(other));
          for (int i = 0; i < 16; ++i) wrong[rank] += theirs[i] != round * ranks + other;
        }
        ASSERT_TRUE(exchange.Settle());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int32_t rank = 0; rank < ranks; ++rank) EXPECT_EQ(wrong[rank], 0) << rank;
}

TEST(SharedExchangeTest, AllSeeWhatAllWrote) {
  for (int32_t ranks : {1, 2, 3, 5}) WriteAndRead(ranks, microseconds(50));
}

TEST(SharedExchangeTest, SleepersAreWoken) {
  for (int32_t ranks : {2, 4}) WriteAndRead(ranks, microseconds(0));
}

TEST(SharedExchangeTest, WhoTakesNothingDoesNotWait) {
  const auto region = Region(2);
  SharedExchange front(region.get(), 0, microseconds(50));
  SharedExchange other(region.get(), 1, microseconds(50));
  const std::vector<ExchangeBlock> nothing(2);
  EXPECT_TRUE(other.Swap(Whole(2), nothing));
  EXPECT_TRUE(other.Swap(Whole(2), nothing));
  EXPECT_TRUE(front.Swap(nothing, Whole(2)));
  EXPECT_TRUE(front.Swap(nothing, Whole(2)));
}

// Whatever the others are doing, they come out of it, and everything later fails at once.
TEST(SharedExchangeTest, AnAbortEndsAllWaits) {
  for (const microseconds spin : {microseconds(0), microseconds(50)}) {
    for (int round = 0; round < 50; ++round) {
      const auto region = Region(3);
      std::vector<std::thread> threads;
      std::vector<int> meetings(2);
      for (int32_t rank : {0, 1}) {
        threads.emplace_back([&, rank] {
          SharedExchange exchange(region.get(), rank, spin);
          while (exchange.BeginStep()) ++meetings[rank];
          EXPECT_TRUE(exchange.failed());
          EXPECT_FALSE(exchange.Swap(Whole(3), Whole(3)));
          EXPECT_FALSE(exchange.Settle());
        });
      }
      SharedExchange third(region.get(), 2, spin);
      for (int i = 0; i < round; ++i) ASSERT_TRUE(third.BeginStep());
      third.Abort();
      EXPECT_TRUE(third.failed());
      for (std::thread& thread : threads) thread.join();
      for (int met : meetings) EXPECT_LE(met, round);
    }
  }
}

TEST(SharedExchangeTest, AResetRegionIsAsNew) {
  const auto region = Region(2);
  SharedExchange front(region.get(), 0, microseconds(0));
  SharedExchange other(region.get(), 1, microseconds(0));
  region->Arrive(0);
  front.Abort();
  EXPECT_FALSE(other.BeginStep());
  region->Reset();
  front.Restart();
  other.Restart();
  std::thread thread([&] { EXPECT_TRUE(other.BeginStep()); });
  EXPECT_TRUE(front.BeginStep());
  thread.join();
  EXPECT_FALSE(front.failed());
}

// Another process maps the same file, somewhere else.
TEST(SharedRegionTest, AFileIsSeenThroughEveryMapping) {
  const auto region = *SharedRegion::CreateFile(2, 100);
  const auto mapped = *SharedRegion::Map(dup(region->fd()), 2, 100);
  SharedExchange front(region.get(), 0, microseconds(0));
  SharedExchange other(mapped.get(), 1, microseconds(0));
  EXPECT_NE(front.ArenaOf(1), other.ArenaOf(1));
  other.arena()[99] = 7;
  std::thread thread([&] { EXPECT_TRUE(other.BeginStep()); });
  EXPECT_TRUE(front.BeginStep());
  thread.join();
  EXPECT_EQ(front.ArenaOf(1)[99], 7);
}

TEST(SharedRegionTest, AFileOfAnotherSizeIsRefused) {
  const auto region = *SharedRegion::CreateFile(2, 100);
  const auto mapped = SharedRegion::Map(dup(region->fd()), 3, 100);
  EXPECT_EQ(mapped.status().message(),
            "shared memory of 3 ranks with 100 bytes of registers each has 16384 bytes, got 12288");
}

TEST(SharedRegionTest, ArenasDoNotOverlap) {
  const auto region = Region(3, 5000);
  for (int32_t rank : {0, 1}) {
    const std::span<uint8_t> arena = region->arena(rank);
    EXPECT_EQ(arena.size(), 5000u);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(arena.data()) % 64, 0u);
    EXPECT_GE(region->arena(rank + 1).data(), arena.data() + arena.size());
  }
}

}  // namespace
}  // namespace mneme::runtime
