// The schedule over an executor that loses its ranks, and with them the KV cache.
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "engine/schedule/engine_testing.h"
#include "gtest/gtest.h"

namespace mneme::schedule {
namespace {

TEST(EngineRecoveryTest, WhatRanEndsWithTheReasonAndOthersAreRefused) {
  EngineFixture fixture;
  fixture.executor.step_time = std::chrono::microseconds(200);
  auto generation = fixture.Start(Greedy(MakePrompt(50, 1), 400));
  Gathered gathered;
  while (gathered.choices.empty()) Drain(generation.get(), &gathered);
  fixture.executor.Lose("rank 1 is gone");
  while (!Drain(generation.get(), &gathered)) std::this_thread::yield();
  EXPECT_EQ(gathered.status, absl::UnavailableError("rank 1 is gone"));
  EXPECT_EQ(gathered[0].finish, FinishReason::kError);
  const auto refused = fixture.engine->Generate(Greedy(MakePrompt(9, 1), 4), nullptr);
  EXPECT_EQ(refused.status(), absl::UnavailableError("rank 1 is gone"));
  EXPECT_EQ(fixture.Settle().kv_blocks_free, 256);
  fixture.executor.Recover();
  const std::vector<int32_t> prompt = MakePrompt(50, 1);
  EXPECT_EQ(fixture.Run(Greedy(prompt, 20))[0].tokens, DefineGreedy(prompt, 20, 61));
}

// Found in the prefix cache, the lost blocks would give other tokens.
TEST(EngineRecoveryTest, ThePrefixCacheIsForgotten) {
  EngineFixture fixture;
  const std::vector<int32_t> prompt = MakePrompt(100, 3);
  EXPECT_EQ(fixture.Run(Greedy(prompt, 4)).usage.cached_tokens, 0);
  EXPECT_GT(fixture.Run(Greedy(prompt, 4)).usage.cached_tokens, 0);
  // Also when nobody noticed while the ranks were away.
  fixture.executor.Lose("rank 1 is gone");
  fixture.executor.Recover();
  const Gathered got = fixture.Run(Greedy(prompt, 4));
  EXPECT_TRUE(got.status.ok()) << got.status;
  EXPECT_EQ(got.usage.cached_tokens, 0);
  EXPECT_EQ(got[0].tokens, DefineGreedy(prompt, 4, 61));
  EXPECT_GT(fixture.Run(Greedy(prompt, 4)).usage.cached_tokens, 0);
}

// Those that had not begun have lost nothing.
TEST(EngineRecoveryTest, WhoWaitsInTheQueueIsServedAfterwards) {
  runtime::StepLimits limits = EngineFixture::DefaultLimits();
  limits.max_sequences = 1;
  EngineFixture fixture(limits);
  fixture.executor.step_time = std::chrono::microseconds(200);
  auto running = fixture.Start(Greedy(MakePrompt(50, 1), 400));
  Gathered first;
  while (first.choices.empty()) Drain(running.get(), &first);
  const std::vector<int32_t> prompt = MakePrompt(30, 2);
  auto waiting = fixture.Start(Greedy(prompt, 5));
  fixture.executor.Lose("rank 1 is gone");
  while (!Drain(running.get(), &first)) std::this_thread::yield();
  EXPECT_TRUE(absl::IsUnavailable(first.status));
  EXPECT_FALSE(waiting->done());
  fixture.executor.Recover();
  EXPECT_EQ(Gather(waiting.get())[0].tokens, DefineGreedy(prompt, 5, 61));
}

TEST(EngineRecoveryTest, HealthIsToldNowAndAtEveryChange) {
  EngineFixture fixture;
  std::vector<bool> told;
  fixture.engine->WatchHealth([&](bool ready) { told.push_back(ready); });
  fixture.executor.Lose("rank 1 is gone");
  fixture.executor.Recover();
  fixture.engine->WatchHealth({});
  fixture.executor.Lose("rank 1 is gone");
  EXPECT_EQ(told, (std::vector<bool>{true, false, true}));
}

// Losses at any moment: every request ends with all its tokens, or UNAVAILABLE and a beginning of
// them, and no block is lost.
TEST(EngineRecoveryTest, LossesAtAnyMoment) {
  EngineFixture fixture;
  fixture.executor.step_time = std::chrono::microseconds(50);
  std::atomic<bool> stop{false};
  std::thread loser([&] {
    for (int i = 0; !stop.load(); ++i) {
      std::this_thread::sleep_for(std::chrono::microseconds(300 + 131 * i % 1700));
      fixture.executor.Lose("rank 1 is gone");
      std::this_thread::sleep_for(std::chrono::microseconds(37 * i % 400));
      fixture.executor.Recover();
    }
  });
  std::vector<std::thread> clients;
  std::atomic<int> lost{0};
  for (uint32_t c = 0; c < 4; ++c) {
    clients.emplace_back([&, c] {
      // However the machine divides its time: until there was enough of both.
      for (int own = 0; own < 15 || lost.load() == 0;) {
        const std::vector<int32_t> prompt = MakePrompt(20 + static_cast<int32_t>(c) * 16, c);
        GenerateRequest request = Greedy(prompt, 12);
        struct Ignore : EventListener {
          void OnEvents() override {}
        } ignore;
        auto generation = fixture.engine->Generate(request, &ignore);
        if (!generation.ok()) {
          ASSERT_TRUE(absl::IsUnavailable(generation.status()));
          ++lost;
          std::this_thread::sleep_for(std::chrono::microseconds(50));
          continue;
        }
        const Gathered got = Gather(generation->get());
        std::vector<int32_t> expected = DefineGreedy(prompt, 12, 61);
        if (got.status.ok()) {
          ++own;
          ASSERT_EQ(got[0].tokens, expected);
        } else {
          ++lost;
          ASSERT_EQ(got.status, absl::UnavailableError("rank 1 is gone"));
          expected.resize(got[0].tokens.size());
          ASSERT_EQ(got[0].tokens, expected);
        }
      }
    });
  }
  for (std::thread& client : clients) client.join();
  stop.store(true);
  loser.join();
  EXPECT_EQ(fixture.Settle().kv_blocks_free, 256);
}

}  // namespace
}  // namespace mneme::schedule
