#include "engine/serving_load.h"

#include <random>
#include <string>
#include <thread>
#include <utility>

#include "gtest/gtest.h"

namespace mneme::testing {
namespace {

using std::chrono::milliseconds;

constexpr int kRequests = 64;

std::unique_ptr<Serving> Serve(const ServingOptions& options) {
  absl::StatusOr<std::unique_ptr<Serving>> serving = Serving::Create(options);
  EXPECT_TRUE(serving.ok()) << serving.status();
  return serving.ok() ? *std::move(serving) : nullptr;
}

std::vector<Said> Run(Serving* serving, const GenerateRequest& request, int cancel_after) {
  Reader reader;
  auto generation = serving->engine().Generate(request, &reader);
  EXPECT_TRUE(generation.ok()) << generation.status();
  if (!generation.ok()) return {};
  std::vector<Said> said = reader.ReadAll(generation->get(), request.n, cancel_after);
  EXPECT_TRUE((*generation)->status().ok()) << (*generation)->status();
  return said;
}

void ExpectTheSame(const std::vector<Said>& got, const std::vector<Said>& expected,
                   bool may_be_cancelled) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t c = 0; c < got.size(); ++c) {
    Said whole = expected[c];
    if (got[c].finish == FinishReason::kCancelled) {
      // What came before the cancel is a prefix.
      EXPECT_TRUE(may_be_cancelled);
      ASSERT_LE(got[c].tokens.size(), whole.tokens.size());
      whole.tokens.resize(got[c].tokens.size());
      whole.logprobs.resize(got[c].tokens.size());
      whole.finish = FinishReason::kCancelled;
    }
    EXPECT_EQ(got[c], whole) << "choice " << c;
  }
}

}  // namespace

void Reader::OnEvents() {
  const std::lock_guard lock(mutex_);
  ready_ = true;
  wake_.notify_one();
}

void Reader::Wait() {
  std::unique_lock lock(mutex_);
  wake_.wait_for(lock, milliseconds(200), [&] { return ready_; });
  ready_ = false;
}

std::vector<Said> Reader::ReadAll(Generation* generation, int choices, int cancel_after) {
  std::vector<Said> said(choices);
  int tokens = 0;
  while (!generation->done()) {
    OutputEvent event;
    if (!generation->Pop(&event)) {
      Wait();
      continue;
    }
    Said& choice = said[event.choice];
    if (event.kind == OutputEvent::Kind::kToken) {
      choice.tokens.push_back(event.token_id);
      choice.logprobs.push_back(event.logprob);
      if (++tokens == cancel_after) generation->Cancel();
    } else if (event.kind == OutputEvent::Kind::kFinish) {
      choice.finish = event.finish;
    }
  }
  return said;
}

Reader::Stopped Reader::ReadTokens(Generation* generation, int tokens) {
  while (tokens > 0) {
    if (generation->done()) return Stopped::kDone;
    OutputEvent event;
    if (!generation->Pop(&event)) {
      Wait();
    } else if (event.kind == OutputEvent::Kind::kToken) {
      --tokens;
    }
  }
  return Stopped::kTokens;
}

GenerateRequest RandomRequest(uint32_t seed) {
  std::mt19937 random(seed);
  GenerateRequest request;
  request.id = std::to_string(seed);
  const int length = 1 + static_cast<int>(random() % 80);
  std::mt19937 prompt(random() % 3 == 0 ? 1 : seed);
  for (int i = 0; i < length; ++i) request.prompt.push_back(static_cast<int32_t>(prompt() % 200));
  request.max_tokens = 1 + static_cast<int>(random() % 40);
  request.ignore_eos = true;
  request.logprobs = 0;
  request.n = 1 + static_cast<int>(random() % 3);
  request.sampling.seed = seed;
  request.sampling.temperature = random() % 3 == 0 ? 0.0f : 1.0f;
  if (random() % 2 == 0) request.sampling.top_p = 0.9f;
  if (random() % 2 == 0) request.sampling.repetition_penalty = 1.2f;
  return request;
}

int64_t KvBlockBytes(const v1::Plan& plan) {
  int64_t bytes = 0;
  for (const v1::KvCache& cache : plan.kv_caches()) bytes += cache.bytes();
  return bytes / plan.limits().kv_blocks();
}

void ExpectIdle(const Engine& engine) {
  // The blocks come back after the last event: the step that freed them may still be settling.
  EngineStats stats = engine.stats();
  const auto idle = [&] {
    return stats.kv_blocks_free == stats.kv_blocks_total && stats.requests_running == 0 &&
           stats.requests_waiting == 0;
  };
  for (int i = 0; i < 1000 && !idle(); ++i) {
    std::this_thread::sleep_for(milliseconds(10));
    stats = engine.stats();
  }
  EXPECT_EQ(stats.kv_blocks_free, stats.kv_blocks_total);
  EXPECT_EQ(stats.requests_running, 0);
  EXPECT_EQ(stats.requests_waiting, 0);
}

void ExpectManyAtOnceGiveWhatEachGivesAlone(const ServingOptions& together,
                                            const ServingOptions& alone) {
  std::vector<std::vector<Said>> expected;
  int64_t block_bytes = 0;
  {
    const auto roomy = Serve(alone);
    ASSERT_NE(roomy, nullptr);
    for (int i = 0; i < kRequests; ++i) {
      expected.push_back(Run(roomy.get(), RandomRequest(i), -1));
      for (const Said& said : expected.back()) ASSERT_EQ(said.finish, FinishReason::kLength);
    }
    block_bytes = KvBlockBytes(roomy->plan());
  }
  // 12 blocks of 16 positions: at most one and a half of the longest requests.
  ServingOptions tight = together;
  tight.kv_cache_bytes = 12 * block_bytes;
  const auto serving = Serve(tight);
  ASSERT_NE(serving, nullptr);
  ASSERT_EQ(serving->plan().limits().kv_blocks(), 12);
  std::vector<std::thread> threads;
  std::vector<std::vector<Said>> got(kRequests);
  std::vector<int> cancel_after(kRequests, -1);
  std::mt19937 random(11);
  for (int& tokens : cancel_after) {
    if (random() % 4 == 0) tokens = 1 + static_cast<int>(random() % 10);
  }
  for (int i = 0; i < kRequests; ++i) {
    threads.emplace_back(
        [&, i] { got[i] = Run(serving.get(), RandomRequest(i), cancel_after[i]); });
  }
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < kRequests; ++i) {
    SCOPED_TRACE("request " + std::to_string(i));
    ExpectTheSame(got[i], expected[i], cancel_after[i] != -1);
  }
  EXPECT_GT(serving->engine().stats().preemptions_total, 0);
  ExpectIdle(serving->engine());
}

}  // namespace mneme::testing
