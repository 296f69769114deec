#include "server/worker.h"

#include <algorithm>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mneme::server {
namespace {

using testing::ElementsAre;

TEST(WorkerTest, RunsEverythingBeforeItEndsEqualOnesInOrder) {
  std::vector<int> ran;
  {
    Worker worker(1000);
    for (int i = 0; i < 100; ++i) EXPECT_TRUE(worker.Run(7, [&ran, i] { ran.push_back(i); }).ok());
  }
  ASSERT_EQ(ran.size(), 100u);
  EXPECT_TRUE(std::is_sorted(ran.begin(), ran.end()));
}

TEST(WorkerTest, TasksMayQueueTasks) {
  int ran = 0;
  {
    Worker worker(1000);
    ASSERT_TRUE(worker.Run(1, [&] { EXPECT_TRUE(worker.Run(1, [&] { ++ran; }).ok()); }).ok());
  }
  EXPECT_EQ(ran, 1);
}

// Queues tasks of these bytes while the worker is busy; the order in which they ran.
std::vector<int64_t> Order(const std::vector<int64_t>& tasks) {
  std::vector<int64_t> ran;
  std::promise<void> started, go;
  {
    Worker worker(1'000'000);
    EXPECT_TRUE(worker
                    .Run(0,
                         [&] {
                           started.set_value();
                           go.get_future().wait();
                         })
                    .ok());
    started.get_future().wait();
    for (const int64_t bytes : tasks) {
      EXPECT_TRUE(worker.Run(bytes, [&ran, bytes] { ran.push_back(bytes); }).ok());
    }
    go.set_value();
  }
  return ran;
}

TEST(WorkerTest, SmallTextsPassLargeOnesButNotForEver) {
  EXPECT_THAT(Order({4000, 5000, 10}), ElementsAre(10, 4000, 5000));
  // 16 times 10 bytes may pass it.
  std::vector<int64_t> tasks = {10};
  tasks.resize(400, 1);
  const std::vector<int64_t> ran = Order(tasks);
  EXPECT_EQ(ran[133], 1);
  EXPECT_EQ(ran[134], 10);
}

TEST(WorkerTest, WhatWaitsIsBounded) {
  std::promise<void> started, go;
  int ran = 0;
  auto worker = std::make_unique<Worker>(100);
  const auto run = [&](int64_t bytes) { return worker->Run(bytes, [&ran] { ++ran; }); };
  ASSERT_TRUE(worker
                  ->Run(1000,
                        [&] {
                          started.set_value();
                          go.get_future().wait();
                        })
                  .ok());
  started.get_future().wait();
  // What runs does not wait, and one alone may be of any size.
  EXPECT_TRUE(run(60).ok());
  EXPECT_TRUE(run(40).ok());
  const absl::Status status = run(1);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(std::string(status.message()),
            "texts of 100 bytes wait to be tokenized; with these 1 they would be more than 100");
  go.set_value();
  worker.reset();
  EXPECT_EQ(ran, 2);
}

}  // namespace
}  // namespace mneme::server
