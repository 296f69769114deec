#include "engine/runtime/exchange.h"

#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::runtime {
namespace {

// Every rank writes, meets, reads what all wrote, and meets before it writes again.
void WriteAndRead(int32_t ranks, std::chrono::microseconds spin) {
  constexpr int kRounds = 500;
  Exchange exchange(ranks, spin);
  std::vector<std::vector<int>> values(ranks, std::vector<int>(16));
  std::vector<int> wrong(ranks);
  std::vector<std::thread> threads;
  for (int32_t rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      for (int round = 0; round < kRounds; ++round) {
        for (int& value : values[rank]) value = round * ranks + rank;
        exchange.Meet(rank);
        for (int32_t other = 0; other < ranks; ++other) {
          for (int value : values[other]) wrong[rank] += value != round * ranks + other;
        }
        exchange.Meet(rank);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int32_t rank = 0; rank < ranks; ++rank) EXPECT_EQ(wrong[rank], 0) << rank;
}

TEST(ExchangeTest, AllSeeWhatAllWrote) {
  for (int32_t ranks : {1, 2, 3, 5}) WriteAndRead(ranks, std::chrono::microseconds(50));
}

TEST(ExchangeTest, SleepersAreWoken) {
  for (int32_t ranks : {2, 4}) WriteAndRead(ranks, std::chrono::microseconds(0));
}

TEST(ExchangeTest, WhoOnlyArrivesDoesNotWait) {
  Exchange exchange(2, std::chrono::microseconds(50));
  exchange.Arrive(1);
  exchange.Arrive(1);
  exchange.Meet(0);
  exchange.Meet(0);
}

}  // namespace
}  // namespace mneme::runtime
