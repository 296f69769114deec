#include "engine/ranks/generation.h"

#include <atomic>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::ranks {
namespace {

using runtime::Step;

TEST(GenerationTest, StepsEnterOnlyTheGenerationTheyWereMadeFor) {
  int aborts = 0;
  Generation generation([&] { ++aborts; });
  EXPECT_FALSE(generation.state().ready);
  EXPECT_FALSE(generation.Enter(Step::kAnyGeneration));
  generation.Begin();
  EXPECT_TRUE(generation.state().ready);
  EXPECT_EQ(generation.state().generation, 1u);
  EXPECT_TRUE(generation.Enter(1));
  EXPECT_TRUE(generation.Enter(Step::kAnyGeneration));
  EXPECT_FALSE(generation.Enter(0));
  EXPECT_EQ(generation.steps(), 2);
  generation.GiveUp(absl::UnavailableError("rank 1 is gone"));
  generation.GiveUp(absl::UnavailableError("rank 2 is gone"));
  EXPECT_EQ(aborts, 1);
  EXPECT_EQ(generation.failure().message(), "rank 1 is gone");
  EXPECT_FALSE(generation.Enter(1));
  generation.Leave();
  generation.Leave();
  generation.AwaitEmpty();
  generation.Begin();
  EXPECT_FALSE(generation.Enter(1)) << "made for the one before";
  EXPECT_TRUE(generation.Enter(2));
}

// The supervisor goes on when the last step has left, not before.
TEST(GenerationTest, TheSupervisorWaitsForTheStepsInside) {
  for (int round = 0; round < 200; ++round) {
    Generation generation([] {});
    generation.Begin();
    std::atomic<int> inside{0};
    std::thread schedule([&] {
      while (generation.Enter(1)) {
        ++inside;
        std::this_thread::yield();
        --inside;
        generation.Leave();
      }
    });
    generation.GiveUp(absl::UnavailableError("gone"));
    generation.AwaitEmpty();
    EXPECT_EQ(inside.load(), 0);
    schedule.join();
  }
}

TEST(GenerationTest, WhatIsAbandonedIsNotWaitedFor) {
  Generation generation([] {});
  generation.Begin();
  ASSERT_TRUE(generation.Enter(1));
  generation.GiveUp(absl::UnavailableError("the executor ends"));
  std::thread supervisor([&] { generation.AwaitEmpty(); });
  generation.Abandon();
  supervisor.join();
  EXPECT_EQ(generation.steps(), 0);
}

TEST(GenerationTest, TheListenerIsToldOfEveryChangeUntilItIsTakenAway) {
  Generation generation([] {});
  std::vector<bool> told;
  generation.SetListener([&] { told.push_back(generation.state().ready); });
  generation.Begin();
  generation.GiveUp(absl::UnavailableError("gone"));
  generation.Begin();
  EXPECT_EQ(told, (std::vector<bool>{true, false, true}));
  generation.SetListener({});
  generation.GiveUp(absl::UnavailableError("gone"));
  EXPECT_EQ(told.size(), 3u);
}

}  // namespace
}  // namespace mneme::ranks
