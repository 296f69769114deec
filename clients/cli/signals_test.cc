#include "clients/cli/signals.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace mneme::cli {
namespace {

TEST(SignalWatcherTest, CallsForEachSignalAndStops) {
  std::atomic<int> interrupts{0};
  std::atomic<int> terminations{0};
  {
    SignalWatcher watcher({SIGINT, SIGTERM},
                          [&](int signal) { ++(signal == SIGINT ? interrupts : terminations); });
    for (int i = 1; i <= 3; ++i) {
      kill(getpid(), SIGINT);
      for (int wait = 0; wait < 1000 && interrupts < i; ++wait) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
      EXPECT_EQ(interrupts, i);
    }
    kill(getpid(), SIGTERM);
    for (int wait = 0; wait < 1000 && terminations < 1; ++wait) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    EXPECT_EQ(terminations, 1);
  }
  EXPECT_EXIT(raise(SIGTERM), ::testing::KilledBySignal(SIGTERM), "");
}

}  // namespace
}  // namespace mneme::cli
