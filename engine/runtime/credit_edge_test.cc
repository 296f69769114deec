#include "engine/runtime/credit_edge.h"

#include <array>
#include <random>
#include <thread>

#include "gtest/gtest.h"

namespace mneme::runtime {
namespace {

using std::chrono::microseconds;

// Sends 0..count-1 through a ring guarded by the edge and sums what arrives; tsan checks that the
// slots need no other synchronisation.
uint64_t SendThrough(CreditEdge* edge, int count, microseconds producer_pause,
                     microseconds consumer_pause) {
  std::array<uint64_t, 2> ring{};
  std::thread producer([&] {
    std::mt19937 random(1);
    for (int i = 0; i < count; ++i) {
      ring[edge->WaitCredit() % 2] = i;
      if (producer_pause.count() > 0 && random() % 16 == 0) {
        std::this_thread::sleep_for(producer_pause);
      }
      edge->Publish();
    }
  });
  uint64_t sum = 0;
  std::mt19937 random(2);
  for (int i = 0; i < count; ++i) {
    uint32_t number = 0;
    EXPECT_TRUE(edge->WaitWritten(&number));
    EXPECT_EQ(number, static_cast<uint32_t>(i));
    sum = sum * 31 + ring[number % 2];
    if (consumer_pause.count() > 0 && random() % 16 == 0) {
      std::this_thread::sleep_for(consumer_pause);
    }
    edge->Release();
  }
  producer.join();
  return sum;
}

uint64_t Expected(int count) {
  uint64_t sum = 0;
  for (int i = 0; i < count; ++i) sum = sum * 31 + i;
  return sum;
}

TEST(CreditEdgeTest, DeliversInOrderSpinningAndSleeping) {
  for (microseconds spin : {microseconds(0), microseconds(50)}) {
    CreditEdge edge(2, spin);
    EXPECT_EQ(SendThrough(&edge, 20000, microseconds(0), microseconds(0)), Expected(20000));
  }
}

TEST(CreditEdgeTest, DeliversWhenEitherSideIsSlow) {
  CreditEdge slow_producer(2, microseconds(0));
  EXPECT_EQ(SendThrough(&slow_producer, 400, microseconds(200), microseconds(0)), Expected(400));
  CreditEdge slow_consumer(2, microseconds(5));
  EXPECT_EQ(SendThrough(&slow_consumer, 400, microseconds(0), microseconds(200)), Expected(400));
}

TEST(CreditEdgeTest, CreditsBoundWhatIsUnderWay) {
  CreditEdge edge(2, microseconds(0));
  EXPECT_FALSE(edge.HasWritten());
  EXPECT_EQ(edge.WaitCredit(), 0u);
  edge.Publish();
  EXPECT_EQ(edge.WaitCredit(), 1u);
  EXPECT_TRUE(edge.HasCredit());
  edge.Publish();
  EXPECT_FALSE(edge.HasCredit());
  uint32_t number = 9;
  ASSERT_TRUE(edge.WaitWritten(&number));
  EXPECT_EQ(number, 0u);
  EXPECT_FALSE(edge.HasCredit());
  edge.Release();
  EXPECT_TRUE(edge.HasCredit());
}

TEST(CreditEdgeTest, CloseEndsAWaitingConsumerAfterWhatWasWritten) {
  for (int round = 0; round < 200; ++round) {
    CreditEdge edge(2, microseconds(round % 2 == 0 ? 0 : 20));
    int received = 0;
    std::thread consumer([&] {
      uint32_t number = 0;
      while (edge.WaitWritten(&number)) {
        ++received;
        edge.Release();
      }
    });
    edge.WaitCredit();
    edge.Publish();
    if (round % 3 == 0) std::this_thread::sleep_for(microseconds(100));
    edge.Close();
    consumer.join();
    EXPECT_EQ(received, 1);
  }
}

}  // namespace
}  // namespace mneme::runtime
