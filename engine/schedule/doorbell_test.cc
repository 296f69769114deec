#include "engine/schedule/doorbell.h"

#include <thread>

#include "gtest/gtest.h"

namespace mneme::schedule {
namespace {

using std::chrono::microseconds;

TEST(DoorbellTest, ReturnsAtOnceWhenItRangBefore) {
  Doorbell doorbell;
  const uint32_t seen = doorbell.rings();
  doorbell.Ring();
  doorbell.Await(seen, microseconds(0));
  EXPECT_EQ(doorbell.rings(), seen + 1);
}

// Two threads answer each other; a lost ring would hang the test. The plain counter is guarded by
// the rings alone, which the thread sanitizer checks.
TEST(DoorbellTest, NoRingIsLostBetweenTwoThreads) {
  for (microseconds spin : {microseconds(0), microseconds(50)}) {
    constexpr int kRounds = 2000;
    Doorbell ping;
    Doorbell pong;
    int value = 0;
    std::thread other([&] {
      for (int i = 0; i < kRounds; ++i) {
        ping.Await(static_cast<uint32_t>(i), spin);
        ++value;
        pong.Ring();
      }
    });
    for (int i = 0; i < kRounds; ++i) {
      ASSERT_EQ(value, i);
      ping.Ring();
      pong.Await(static_cast<uint32_t>(i), spin);
    }
    other.join();
    EXPECT_EQ(value, kRounds);
  }
}

}  // namespace
}  // namespace mneme::schedule
