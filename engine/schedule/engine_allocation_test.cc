// The schedule's thread takes no memory while it serves: everything is reserved when the engine and
// when the request is made, and requests are made on their callers' threads.
#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include "engine/schedule/engine_counters.h"
#include "engine/schedule/engine_testing.h"
#include "gtest/gtest.h"

namespace {

// Set on the schedule's thread by the first step it submits.
thread_local bool counted_thread = false;
std::atomic<int64_t> allocations{0};

void* Allocate(std::size_t size, std::align_val_t alignment = std::align_val_t{16}) {
  if (counted_thread) allocations.fetch_add(1);
  // A multiple of the alignment, which aligned_alloc asks for.
  const std::size_t unit = static_cast<std::size_t>(alignment);
  void* p = std::aligned_alloc(unit, (size + unit) / unit * unit);
  if (p == nullptr) std::abort();
  return p;
}

// Out of line: where GCC inlines the delete but not the new, it takes the two for a mismatch.
[[gnu::noinline]] void Free(void* p) noexcept { std::free(p); }

}  // namespace

void* operator new(std::size_t size) { return Allocate(size); }
void* operator new[](std::size_t size) { return Allocate(size); }
void* operator new(std::size_t size, std::align_val_t a) { return Allocate(size, a); }
void* operator new[](std::size_t size, std::align_val_t a) { return Allocate(size, a); }
void operator delete(void* p) noexcept { Free(p); }
void operator delete[](void* p) noexcept { Free(p); }
void operator delete(void* p, std::size_t) noexcept { Free(p); }
void operator delete[](void* p, std::size_t) noexcept { Free(p); }
void operator delete(void* p, std::align_val_t) noexcept { Free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { Free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { Free(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { Free(p); }

namespace mneme::schedule {
namespace {

GenerateRequest Busy(uint32_t seed) {
  GenerateRequest request;
  request.prompt = MakePrompt(30 + static_cast<int32_t>(seed % 90), seed);
  request.max_tokens = 120;
  request.sampling.seed = seed;
  request.sampling.top_p = 0.9f;
  request.sampling.top_k = seed % 2 == 0 ? 20 : 0;
  request.sampling.repetition_penalty = 1.1f;
  request.logprobs = 5;
  request.prompt_logprobs = 2;
  request.echo = seed % 3 == 0;
  request.n = 1 + static_cast<int32_t>(seed % 3);
  request.stop = {"zzzz", "no such"};
  return request;
}

TEST(EngineAllocationTest, TheSchedulesThreadAllocatesNothing) {
  runtime::StepLimits limits = EngineFixture::DefaultLimits();
  limits.kv_blocks = 64;  // few, so that preemption is part of it
  EngineFixture fixture(limits);
  fixture.executor.on_step = [](const runtime::Step&) {
    counted_thread = true;
    return absl::OkStatus();
  };
  fixture.Run(Busy(1));
  ASSERT_GT(fixture.engine->stats().output_tokens_total, 0);

  allocations.store(0);
  std::vector<std::unique_ptr<Generation>> generations;
  for (uint32_t seed = 0; seed < 40; ++seed) generations.push_back(fixture.Start(Busy(seed)));
  OutputEvent event;
  for (auto& generation : generations) {
    while (!generation->done()) {
      if (!generation->Pop(&event)) std::this_thread::yield();
    }
  }
  const EngineStats stats = fixture.Settle();
  EXPECT_EQ(allocations.load(), 0);
  EXPECT_GT(stats.output_tokens_total, 40 * 120);
  EXPECT_GT(stats.preemptions_total, 0);
}

TEST(EngineAllocationTest, TheCounterCounts) {
  counted_thread = true;
  allocations.store(0);
  const auto p = std::make_unique<int>(1);
  EXPECT_EQ(allocations.load(), 1);
  struct alignas(64) Line {
    char bytes[64];
  };
  const auto line = std::make_unique<Line>();
  EXPECT_EQ(allocations.load(), 2);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(line.get()) % 64, 0u);
  counted_thread = false;
}

TEST(EngineCountersTest, GiveBackWhatWasStored) {
  EngineCounters counters;
  EngineStats stats;
  stats.requests_total = 3;
  stats.kv_block_tokens = 16;
  stats.traffic_total.Write(kernels::TrafficClass::kExchange, 77);
  stats.runtime_seconds_total = 0.25;
  counters.Store(stats);
  EXPECT_EQ(counters.Load().requests_total, 3);
  EXPECT_EQ(counters.Load().kv_block_tokens, 16);
  EXPECT_EQ(counters.Load().traffic_total, stats.traffic_total);
  EXPECT_EQ(counters.Load().runtime_seconds_total, 0.25);
}

}  // namespace
}  // namespace mneme::schedule
