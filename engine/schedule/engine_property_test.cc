// Many requests at once, with cancels and forced preemptions, give exactly what each gives alone,
// and every block comes back.
#include <algorithm>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "engine/schedule/engine_testing.h"
#include "gtest/gtest.h"

namespace mneme::schedule {
namespace {

GenerateRequest RandomRequest(std::mt19937* random) {
  GenerateRequest request;
  const auto below = [random](uint32_t n) { return static_cast<int32_t>((*random)() % n); };
  // A few common prefixes, so that the prefix cache has something to find.
  request.prompt = MakePrompt(below(4) * 20, static_cast<uint32_t>(below(3)));
  const std::vector<int32_t> own = MakePrompt(1 + below(90), (*random)());
  request.prompt.insert(request.prompt.end(), own.begin(), own.end());
  request.max_tokens = below(10) == 0 ? 0 : 1 + below(100);
  request.sampling.temperature = below(3) == 0 ? 0.0f : 0.9f;
  request.sampling.seed = (*random)();
  if (below(3) == 0) request.sampling.top_p = 0.8f;
  if (below(3) == 0) request.sampling.top_k = 10;
  if (below(4) == 0) request.sampling.repetition_penalty = 1.3f;
  if (below(4) == 0) request.sampling.frequency_penalty = 0.5f;
  if (below(4) == 0) request.logprobs = below(4);
  if (below(6) == 0) request.prompt_logprobs = below(3);
  if (below(6) == 0) request.echo = true;
  if (below(4) == 0) request.stop = {"abc", "no"};
  if (below(5) == 0) request.n = 1 + below(4);
  if (below(4) == 0) request.stop_token_ids = {below(50)};
  if (below(8) == 0) request.all_logits = true;
  return request;
}

void ExpectSame(const Gathered& got, const Gathered& alone, bool cancelled) {
  EXPECT_FALSE(got.out_of_order);
  ASSERT_EQ(got.choices.size(), alone.choices.size());
  for (const auto& [index, expected] : alone.choices) {
    const GatheredChoice& choice = got[index];
    if (cancelled && choice.finish == FinishReason::kCancelled) {
      // What it got until then is the beginning of what it would have got.
      ASSERT_LE(choice.tokens.size(), expected.tokens.size());
      EXPECT_TRUE(std::ranges::equal(choice.tokens,
                                     std::span(expected.tokens).first(choice.tokens.size())));
      continue;
    }
    EXPECT_EQ(choice.tokens, expected.tokens);
    EXPECT_EQ(choice.echoed, expected.echoed);
    EXPECT_EQ(choice.text, expected.text);
    EXPECT_EQ(choice.finish, expected.finish);
    EXPECT_EQ(choice.stop_string, expected.stop_string);
    EXPECT_EQ(choice.stop_token_id, expected.stop_token_id);
    EXPECT_EQ(choice.logprobs, expected.logprobs);
  }
  if (!cancelled) {
    EXPECT_EQ(got.prompt_logprobs, alone.prompt_logprobs);
    EXPECT_EQ(got.prompt_logprob_tokens, alone.prompt_logprob_tokens);
  }
}

void RunMany(uint32_t seed, bool prefix_cache, int32_t kv_blocks, int32_t max_tokens) {
  SCOPED_TRACE(testing::Message() << "seed " << seed << " blocks " << kv_blocks);
  constexpr int kRequests = 64;
  std::mt19937 random(seed);
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < kRequests; ++i) requests.push_back(RandomRequest(&random));

  std::vector<Gathered> alone;
  {
    ScheduleOptions options;
    options.prefix_cache = false;
    EngineFixture fixture(EngineFixture::DefaultLimits(), options);
    for (const GenerateRequest& request : requests) alone.push_back(fixture.Run(request));
  }

  runtime::StepLimits limits = EngineFixture::DefaultLimits();
  limits.kv_blocks = kv_blocks;
  limits.max_tokens = max_tokens;
  limits.max_logit_rows = std::min(max_tokens, 20);
  ScheduleOptions options;
  options.prefix_cache = prefix_cache;
  options.prefill_chunk = 24;
  EngineFixture fixture(limits, options);
  const int64_t free_at_start = fixture.engine->stats().kv_blocks_free;
  EXPECT_EQ(free_at_start, kv_blocks);

  std::vector<std::unique_ptr<Generation>> generations;
  std::vector<Gathered> got(kRequests);
  std::vector<bool> cancelled(kRequests, false);
  std::vector<bool> done(kRequests, false);
  for (const GenerateRequest& request : requests) generations.push_back(fixture.Start(request));
  for (int left = kRequests; left > 0;) {
    for (int i = 0; i < kRequests; ++i) {
      // Readers of very different speed; now and then one gives up.
      if (done[i] || random() % static_cast<uint32_t>(1 + i % 7) != 0) continue;
      if (i % 5 == 0 && random() % 40 == 0) {
        generations[i]->Cancel();
        cancelled[i] = true;
      }
      done[i] = Drain(generations[i].get(), &got[i]);
      left -= done[i] ? 1 : 0;
    }
    std::this_thread::yield();
  }
  for (int i = 0; i < kRequests; ++i) {
    SCOPED_TRACE(testing::Message() << "request " << i);
    ExpectSame(got[i], alone[i], cancelled[i]);
    EXPECT_TRUE(got[i].status.ok()) << got[i].status;
  }
  const EngineStats stats = fixture.Settle();
  EXPECT_EQ(stats.kv_blocks_free, free_at_start);
  if (kv_blocks < 30) {
    EXPECT_GT(stats.preemptions_total, 0);
  }
  EXPECT_LE(fixture.executor.most_rows(), max_tokens);
}

TEST(EnginePropertyTest, ManyRequestsGiveWhatEachGivesAlone) {
  uint32_t seed = 1;
  for (bool prefix_cache : {true, false}) {
    // 250 positions is the longest request: 16 blocks are the fewest that hold it.
    for (int32_t kv_blocks : {17, 24, 60, 256}) {
      for (int32_t max_tokens : {20, 64}) RunMany(seed++, prefix_cache, kv_blocks, max_tokens);
    }
  }
}

// The same from many threads, so that the thread sanitizer sees callers, readers and the schedule
// meet.
TEST(EnginePropertyTest, ManyThreadsGetWhatEachRequestGivesAlone) {
  runtime::StepLimits limits = EngineFixture::DefaultLimits();
  limits.kv_blocks = 40;
  EngineFixture fixture(limits);
  std::vector<std::thread> threads;
  std::vector<int> wrong(8, 0);
  for (uint32_t t = 0; t < 8; ++t) {
    threads.emplace_back([&fixture, &wrong, t] {
      for (uint32_t i = 0; i < 8; ++i) {
        const std::vector<int32_t> prompt = MakePrompt(1 + 13 * static_cast<int32_t>(i), 8 * t + i);
        auto generation = fixture.Start(Greedy(prompt, 30));
        if (i % 4 == 3) {
          generation->Cancel();
          Gather(generation.get());
        } else {
          wrong[t] += Gather(generation.get())[0].tokens != DefineGreedy(prompt, 30, 61);
        }
        fixture.engine->stats();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(8, 0));
  EXPECT_EQ(fixture.Settle().kv_blocks_free, 40);
}

}  // namespace
}  // namespace mneme::schedule
