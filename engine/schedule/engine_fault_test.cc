// The whole schedule over a fake executor: cancels, slow readers, failing steps, shutting down.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/schedule/engine_testing.h"
#include "engine/schedule/event_writer.h"
#include "engine/schedule/schedule_loop.h"
#include "engine/schedule/step_settler.h"
#include "gtest/gtest.h"

namespace mneme::schedule {
namespace {

using std::chrono::milliseconds;

TEST(EngineFaultTest, ACancelEndsEveryChoiceWithinAStep) {
  EngineFixture fixture;
  fixture.executor.step_time = std::chrono::microseconds(200);
  GenerateRequest request = Greedy(MakePrompt(50, 1), 400);
  request.n = 3;
  auto generation = fixture.Start(request);
  Gathered gathered;
  while (gathered.choices.size() < 3) Drain(generation.get(), &gathered);
  const int64_t steps_before = fixture.executor.steps();
  generation->Cancel();
  while (!Drain(generation.get(), &gathered)) std::this_thread::yield();
  // The step under way, and perhaps one whose composition had begun.
  EXPECT_LE(fixture.executor.steps(), steps_before + 3);
  for (const auto& [index, choice] : gathered.choices) {
    EXPECT_EQ(choice.finish, FinishReason::kCancelled);
  }
  EXPECT_TRUE(gathered.status.ok());
  EXPECT_EQ(fixture.Settle().kv_blocks_free, 256);
}

TEST(EngineFaultTest, ACancelBeforeTheFirstStepAndOneAfterTheEndAreHarmless) {
  EngineFixture fixture;
  for (int i = 0; i < 200; ++i) {
    auto generation = fixture.Start(Greedy(MakePrompt(30, 1), 3));
    generation->Cancel();
    const Gathered got = Gather(generation.get());
    ASSERT_EQ(got.choices.size(), 1u);
    generation->Cancel();
    EXPECT_TRUE(generation->done());
  }
  EXPECT_EQ(fixture.Settle().kv_blocks_free, 256);
}

// A cancel that comes while the schedule's thread takes in what arrived before is not forgotten.
// Taking in many choices that echo takes it some tenths of a millisecond, in which the last request
// arrives and is cancelled. Unread and not cancelled, that one would wait for its reader for good.
TEST(EngineFaultTest, ACancelWhileOthersAreTakenInIsSeen) {
  EngineFixture fixture;
  std::atomic<bool> hold{false};
  std::atomic<bool> held{false};
  fixture.executor.on_step = [&](const runtime::Step&) {
    held.store(hold.load());
    while (hold.load()) std::this_thread::yield();
    return absl::OkStatus();
  };
  for (int round = 0; round < 100; ++round) {
    hold.store(true);
    auto first = fixture.Start(Greedy(MakePrompt(10, 1), 3));
    while (!held.load()) std::this_thread::yield();
    GenerateRequest crowd = Greedy(MakePrompt(1, 2), 1);
    crowd.n = 64;
    crowd.echo = true;
    std::vector<std::unique_ptr<Generation>> crowds;
    for (int i = 0; i < 40; ++i) crowds.push_back(fixture.Start(crowd));
    hold.store(false);
    const auto taken_in = std::chrono::steady_clock::now() + std::chrono::microseconds(4 * round);
    while (std::chrono::steady_clock::now() < taken_in) {
    }
    auto last = fixture.Start(Greedy(MakePrompt(30, 3), 400));
    last->Cancel();
    // Nothing is read until then: reading rings, and a ring makes the thread look again.
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (fixture.engine->stats().requests_running + fixture.engine->stats().requests_waiting >
           0) {
      ASSERT_LT(std::chrono::steady_clock::now(), patience) << "round " << round;
      std::this_thread::sleep_for(milliseconds(1));
    }
    EXPECT_EQ(Gather(last.get())[0].finish, FinishReason::kCancelled);
  }
}

TEST(EngineFaultTest, TheStatsOfADoneRequestShowItsBlocksFree) {
  EngineFixture fixture;
  for (uint32_t i = 0; i < 100; ++i) {
    auto generation = fixture.Start(Greedy(MakePrompt(40, i), 5));
    if (i % 2 == 0) generation->Cancel();
    Gather(generation.get());
    const EngineStats stats = fixture.engine->stats();
    ASSERT_EQ(stats.kv_blocks_free, 256);
    ASSERT_EQ(stats.requests_running, 0);
    ASSERT_EQ(stats.requests_waiting, 0);
    ASSERT_EQ(stats.requests_total, i + 1);
  }
}

TEST(EngineFaultTest, DestroyingAGenerationCancelsIt) {
  EngineFixture fixture;
  fixture.Start(Greedy(MakePrompt(30, 1), 480)).reset();
  EXPECT_EQ(fixture.Settle().kv_blocks_free, 256);
  EXPECT_LT(fixture.engine->stats().output_tokens_total, 480);
}

TEST(EngineFaultTest, ASlowReaderPausesAloneAndLosesNothing) {
  EngineFixture fixture;
  const std::vector<int32_t> prompt = MakePrompt(20, 2);
  auto slow = fixture.Start(Greedy(prompt, 300));
  const Gathered fast = fixture.Run(Greedy(MakePrompt(20, 3), 400));
  EXPECT_EQ(fast[0].tokens.size(), 400u);
  std::this_thread::sleep_for(milliseconds(5));
  // 66 slots: nothing beyond them was computed for it.
  EXPECT_LE(fixture.engine->stats().output_tokens_total, 400 + 66);
  EXPECT_EQ(fixture.engine->stats().requests_running, 1);
  const int64_t steps = fixture.executor.steps();
  std::this_thread::sleep_for(milliseconds(5));
  EXPECT_EQ(fixture.executor.steps(), steps) << "a paused request costs no steps";
  EXPECT_EQ(Gather(slow.get())[0].tokens, DefineGreedy(prompt, 300, 61));
}

TEST(EngineFaultTest, SlowReadersDoNotHoldTheBlocksThatOthersNeed) {
  runtime::StepLimits limits = EngineFixture::DefaultLimits();
  limits.kv_blocks = 12;
  limits.max_sequences = 2;
  EngineFixture fixture(limits);
  std::vector<std::unique_ptr<Generation>> slow;
  for (uint32_t i = 0; i < 4; ++i) slow.push_back(fixture.Start(Greedy(MakePrompt(40, i), 140)));
  for (uint32_t i = 10; i < 14; ++i) {
    EXPECT_EQ(fixture.Run(Greedy(MakePrompt(100, i), 50))[0].tokens.size(), 50u);
  }
  for (uint32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(Gather(slow[i].get())[0].tokens, DefineGreedy(MakePrompt(40, i), 140, 61));
  }
  const EngineStats stats = fixture.Settle();
  EXPECT_EQ(stats.kv_blocks_free, 12);
  EXPECT_GT(stats.preemptions_total, 0);
}

TEST(EngineFaultTest, ACancelReachesAPausedRequest) {
  EngineFixture fixture;
  auto generation = fixture.Start(Greedy(MakePrompt(20, 2), 300));
  while (fixture.engine->stats().output_tokens_total < 60) std::this_thread::yield();
  std::this_thread::sleep_for(milliseconds(2));
  generation->Cancel();
  EXPECT_EQ(fixture.Settle().kv_blocks_free, 256);
  const Gathered got = Gather(generation.get());
  EXPECT_EQ(got[0].finish, FinishReason::kCancelled);
  EXPECT_GE(got[0].tokens.size(), 60u);
}

TEST(EngineFaultTest, AFailedStepEndsItsRequestsAndOthersGoOn) {
  EngineFixture fixture;
  const std::vector<int32_t> doomed = MakePrompt(40, 5);
  const int32_t marker = 58;
  fixture.executor.on_step = [&](const runtime::Step& step) {
    for (const runtime::StepSpan& span : step.spans()) {
      if (span.first_position == 0 && step.token_ids()[span.first_row] == marker) {
        return absl::UnavailableError("rank 1 is gone");
      }
    }
    return absl::OkStatus();
  };
  std::vector<int32_t> prompt = doomed;
  prompt[0] = marker;
  for (int round = 0; round < 3; ++round) {
    GenerateRequest request = Greedy(prompt, 10);
    request.n = 2;
    const Gathered got = fixture.Run(request);
    EXPECT_EQ(got.status.message(), "rank 1 is gone");
    EXPECT_EQ(got[0].finish, FinishReason::kError);
    EXPECT_EQ(got[1].finish, FinishReason::kError);
    EXPECT_EQ(got.usage.cached_tokens, 0) << "a failed step's blocks are not trusted";
    EXPECT_EQ(fixture.Run(Greedy(doomed, 10))[0].tokens, DefineGreedy(doomed, 10, 61));
  }
  EXPECT_EQ(fixture.Settle().kv_blocks_free, 256);
}

TEST(EngineFaultTest, LogitsThatAreNotFiniteFailTheRequestAlone) {
  EngineFixture fixture;
  fixture.executor.poison_token = 58;
  const std::vector<int32_t> good = MakePrompt(20, 8);
  for (const bool prompt_logprobs : {false, true}) {
    std::vector<int32_t> poisoned = MakePrompt(30, 7);
    poisoned[10] = 58;
    GenerateRequest request = Greedy(poisoned, 5);
    if (prompt_logprobs) request.prompt_logprobs = 1;
    auto bad = fixture.Start(request);
    GenerateRequest neighbour = Greedy(good, 20);
    neighbour.sampling.logit_bias = {{58, -100.0f}};
    const Gathered got = fixture.Run(neighbour);
    EXPECT_EQ(got[0].finish, FinishReason::kLength);
    const Gathered failed = Gather(bad.get());
    EXPECT_EQ(failed.status.code(), absl::StatusCode::kInternal);
    EXPECT_EQ(failed[0].finish, FinishReason::kError);
  }
  EXPECT_EQ(fixture.Settle().kv_blocks_free, 256);
}

TEST(EngineFaultTest, WhatLedToLogitsThatAreNotFiniteIsNotInThePrefixCache) {
  EngineFixture fixture;
  std::vector<int32_t> prompt = MakePrompt(40, 7);
  prompt[35] = 58;
  fixture.executor.poison_token = 58;
  GenerateRequest evaluation = Greedy(prompt, 0);
  evaluation.prompt_logprobs = 1;
  GenerateRequest scored = Greedy(prompt, 5);
  scored.prompt_logprobs = 1;
  // Found when a token is drawn; when the prompt is scored, after the last step; and between.
  for (const GenerateRequest& bad : {Greedy(prompt, 5), evaluation, scored}) {
    const Gathered failed = fixture.Run(bad);
    EXPECT_EQ(failed[0].finish, FinishReason::kError);
    EXPECT_EQ(failed.status.code(), absl::StatusCode::kInternal);
    const std::vector<int32_t> same_beginning(prompt.begin(), prompt.begin() + 34);
    const Gathered next = fixture.Run(Greedy(same_beginning, 1));
    EXPECT_EQ(next.usage.cached_tokens, 0);
    EXPECT_EQ(next[0].finish, FinishReason::kLength);
    // What that one published is taken out by the next bad one, whose prompt begins with it.
  }
  EXPECT_EQ(fixture.Settle().kv_blocks_free, 256);
}

TEST(EngineFaultTest, AFullQueueIsRefusedWithTheNumbers) {
  ScheduleOptions options;
  options.max_waiting = 3;
  runtime::StepLimits limits = EngineFixture::DefaultLimits();
  limits.max_sequences = 1;
  EngineFixture fixture(limits, options);
  fixture.executor.step_time = milliseconds(1);
  std::vector<std::unique_ptr<Generation>> generations;
  generations.push_back(fixture.Start(Greedy(MakePrompt(10, 0), 400)));
  while (fixture.engine->stats().requests_running < 1) std::this_thread::yield();
  for (uint32_t i = 1; i < 4; ++i) {
    generations.push_back(fixture.Start(Greedy(MakePrompt(10, i), 5)));
  }
  const auto refused = fixture.engine->Generate(Greedy(MakePrompt(10, 9), 5), nullptr);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(refused.status().message(), "queue: 3 requests wait, the limit is 3");
  generations[0]->Cancel();
  for (size_t i = 1; i < 4; ++i) EXPECT_EQ(Gather(generations[i].get())[0].tokens.size(), 5u);
}

TEST(EngineFaultTest, DrainingRefusesNewRequestsAndFinishesOldOnes) {
  EngineFixture fixture;
  auto generation = fixture.Start(Greedy(MakePrompt(10, 1), 100));
  fixture.engine->Drain();
  EXPECT_EQ(fixture.engine->Generate(Greedy(MakePrompt(10, 2), 5), nullptr).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(Gather(generation.get())[0].tokens.size(), 100u);
}

TEST(EngineFaultTest, AGenerationOutlivesItsEngine) {
  EngineFixture fixture;
  fixture.executor.step_time = std::chrono::microseconds(100);
  std::vector<std::unique_ptr<Generation>> generations;
  for (uint32_t i = 0; i < 30; ++i) {
    generations.push_back(fixture.Start(Greedy(MakePrompt(50, i), 400)));
  }
  std::this_thread::sleep_for(milliseconds(2));
  fixture.engine.reset();
  for (auto& generation : generations) {
    const Gathered got = Gather(generation.get());
    EXPECT_EQ(got[0].finish, FinishReason::kCancelled);
    generation->Cancel();
  }
}

class ReadingListener : public EventListener {
 public:
  void OnEvents() override {
    const std::lock_guard<std::mutex> lock(mutex);
    if (generation == nullptr || finished) return;
    finished = Drain(generation, &gathered);
    if (finished) done.notify_one();
  }
  // The generation is known after Generate has returned, perhaps after its first events.
  Gathered Await(Generation* of) {
    std::unique_lock<std::mutex> lock(mutex);
    generation = of;
    finished = Drain(generation, &gathered);
    done.wait(lock, [this] { return finished; });
    return gathered;
  }

  std::mutex mutex;
  std::condition_variable done;
  Generation* generation = nullptr;
  Gathered gathered;
  bool finished = false;
};

TEST(EngineFaultTest, AListenerAloneIsEnoughToReadEverything) {
  EngineFixture fixture;
  for (uint32_t round = 0; round < 50; ++round) {
    ReadingListener listener;
    GenerateRequest request = Greedy(MakePrompt(40, round), 150);
    request.echo = round % 2 == 0;
    request.n = 1 + static_cast<int32_t>(round % 3);
    auto generation = fixture.engine->Generate(request, &listener);
    ASSERT_TRUE(generation.ok());
    const Gathered got = listener.Await(generation->get());
    EXPECT_EQ(got[0].tokens, DefineGreedy(request.prompt, 150, 61));
    generation->reset();
  }
}

class CountingObserver : public StepObserver {
 public:
  void OnStep(const runtime::Step& step, const runtime::StepResult& result,
              const runtime::Executor& executor,
              std::span<const std::string_view> request_ids) override {
    steps.fetch_add(1);
    consistent = consistent && &executor.finished_step() == &step &&
                 request_ids.size() == step.spans().size() &&
                 result.logits.rows == static_cast<int64_t>(step.logit_rows().size());
    for (std::string_view id : request_ids) consistent = consistent && id == "observed";
    logit_rows.fetch_add(result.logits.rows);
  }
  std::atomic<int64_t> steps{0};
  std::atomic<int64_t> logit_rows{0};
  bool consistent = true;
};

TEST(EngineFaultTest, AnObserverSeesEveryStepAndAllLogitsOfAPrompt) {
  CountingObserver observer;
  ScheduleOptions options;
  options.observer = &observer;
  EngineFixture fixture(EngineFixture::DefaultLimits(), options);
  GenerateRequest request = Greedy(MakePrompt(150, 1), 10);
  request.id = "observed";
  request.all_logits = true;
  request.text = false;
  EXPECT_EQ(fixture.Run(request)[0].tokens, DefineGreedy(request.prompt, 10, 61));
  fixture.Settle();
  EXPECT_EQ(observer.steps.load(), fixture.executor.steps());
  EXPECT_EQ(observer.logit_rows.load(), 150 + 9);
  EXPECT_TRUE(observer.consistent);
}

}  // namespace
}  // namespace mneme::schedule
