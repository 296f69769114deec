#include "server/worker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace mneme::server {
namespace {

TEST(WorkerTest, RunsEverythingInOrderBeforeItEnds) {
  std::vector<int> ran;
  {
    Worker worker;
    for (int i = 0; i < 100; ++i) worker.Run([&ran, i] { ran.push_back(i); });
  }
  ASSERT_EQ(ran.size(), 100u);
  EXPECT_TRUE(std::is_sorted(ran.begin(), ran.end()));
}

TEST(WorkerTest, TasksMayQueueTasks) {
  int ran = 0;
  {
    Worker worker;
    worker.Run([&] { worker.Run([&] { ++ran; }); });
  }
  EXPECT_EQ(ran, 1);
}

}  // namespace
}  // namespace mneme::server
