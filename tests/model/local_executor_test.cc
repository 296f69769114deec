// The executor's two sides: pipelined steps give the same bits as steps run one by one, nothing is
// allocated while steps run, and an executor with steps under way ends cleanly.

#include "engine/runtime/local_executor.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/plan_model.h"
#include "gtest/gtest.h"
#include "tests/model/rank_runner.h"

namespace {

std::atomic<int64_t> allocations{0};

}  // namespace

// Counts every allocation of the process; the test compares counts around steps. Not inlined, for
// the compiler would see a free() of what it thinks came from another operator new.
[[gnu::noinline]] void* operator new(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(size);
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  const std::size_t step = static_cast<std::size_t>(alignment);
  if (void* memory = std::aligned_alloc(step, (size + step - 1) / step * step)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace mneme::testing {
namespace {

struct Served {
  PlannedModel planned;
  loader::PackedWeights weights;
  std::unique_ptr<runtime::LocalExecutor> executor;
};

// Whatever can be split is.
ModelOptions Options(const std::string& name, int32_t ranks) {
  ModelOptions options;
  options.model_directory = "tests/golden/" + name;
  options.max_step_tokens = 64;
  options.max_sequences = 4;
  options.ranks = ranks;
  options.cost.exchange_seconds = 0;
  options.cost.exchange_seconds_per_rank = 0;
  return options;
}

std::unique_ptr<Served> Serve(const std::string& name, int32_t ranks = 1) {
  const ModelOptions options = Options(name, ranks);
  auto served = std::make_unique<Served>();
  served->planned = PlanModel(options).value();
  served->weights = PackModel(served->planned, options).value();
  served->executor =
      runtime::LocalExecutor::Create(served->planned.plan, served->weights, false).value();
  return served;
}

void Fill(runtime::Step* step, int32_t position, std::vector<int32_t> tokens) {
  if (position == 0) {
    for (int32_t b = 0; b < 8; ++b) step->AddBlockChange(0, b, b);
  }
  step->AddSpan(0, position, tokens);
  step->AddLogitRow(static_cast<int32_t>(tokens.size()) - 1);
}

class RanksTest : public ::testing::TestWithParam<int> {};

TEST_P(RanksTest, TwoStepsUnderWayGiveTheSameBitsAsOneByOne) {
  ModelOptions options = Options("ultramem_v2", GetParam());
  auto runner = RankRunner::Create(options).value();
  auto served = Serve("ultramem_v2", GetParam());
  runtime::Executor& executor = *served->executor;
  std::vector<std::vector<float>> expected;
  for (int32_t i = 0; i < 40; ++i) {
    expected.push_back(runner->Run({{0, {i, i + 1}}}).back());
  }
  Fill(executor.NextStep(), 0, {0, 1});
  executor.Submit();
  for (int32_t i = 0; i < 40; ++i) {
    if (i + 1 < 40) {
      Fill(executor.NextStep(), 2 * (i + 1), {i + 1, i + 2});
      executor.Submit();
    }
    const runtime::StepResult& result = executor.Wait();
    ASSERT_TRUE(result.status.ok());
    ASSERT_EQ(executor.finished_step().number, static_cast<uint64_t>(i + 1));
    const float* row = result.logits.row(0);
    EXPECT_EQ(std::vector<float>(row, row + result.logits.cols), expected[i]) << i;
    EXPECT_GT(result.step_seconds, 0);
    EXPECT_GE(result.runtime_seconds, 0);
    EXPECT_LT(result.runtime_seconds, result.step_seconds);
    executor.Release();
  }
}

INSTANTIATE_TEST_SUITE_P(LocalExecutorTest, RanksTest, ::testing::Values(1, 2, 3));

// Steps of every kind: prefill chunks beside decode tokens, 1 to 4 sequences that come and go, new
// blocks, none to several logit rows.
void RunMixedSteps(runtime::Executor& executor, int32_t count) {
  const int32_t blocks = executor.limits().max_blocks_per_sequence();
  std::array<int32_t, 40> tokens;
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i * 7 % 90);
  std::array<int32_t, 4> lengths{};
  for (int32_t i = 0; i < count; ++i) {
    runtime::Step* step = executor.NextStep();
    for (int32_t s = 0; s < 4; ++s) {
      if (i % (s + 1) != 0) continue;
      const int32_t rows = (i + s) % 5 == 0 ? 14 : 1;
      if (lengths[s] + rows > executor.limits().max_positions) lengths[s] = 0;
      if (lengths[s] == 0) {
        for (int32_t b = 0; b < blocks; ++b) step->AddBlockChange(s, b, s * blocks + b);
      }
      step->AddSpan(s, lengths[s], {tokens.data() + i % 20, static_cast<size_t>(rows)});
      lengths[s] += rows;
      if ((i + s) % 3 != 0) step->AddLogitRow(step->tokens() - 1);
    }
    executor.Submit();
    executor.Wait();
    executor.Release();
  }
}

TEST(LocalExecutorTest, NothingIsAllocatedWhileStepsRun) {
  for (const auto& [name, ranks] :
       {std::pair("ultramem_v2_expand", 1), std::pair("memory_plus", 2),
        std::pair("ultramem_v2_options", 1), std::pair("ultramem_v2_options", 3)}) {
    auto served = Serve(name, ranks);
    RunMixedSteps(*served->executor, 4);
    const int64_t before = allocations.load();
    RunMixedSteps(*served->executor, 60);
    EXPECT_EQ(allocations.load(), before) << name << " on " << ranks;
  }
}

std::unique_ptr<Served> ServeWith(const runtime::HangOptions& hang, int32_t ranks) {
  const ModelOptions options = Options("ultramem_v2", ranks);
  auto served = std::make_unique<Served>();
  served->planned = PlanModel(options).value();
  served->weights = PackModel(served->planned, options).value();
  served->executor =
      runtime::LocalExecutor::Create(served->planned.plan, served->weights, false, hang).value();
  return served;
}

// Rank 0, another one, or the only one: what waits for it gets an error that names it.
TEST(LocalExecutorTest, AHungRankFailsItsStepAndAllLaterOnes) {
  for (const auto& [ranks, hung] : {std::pair(1, 0), std::pair(3, 0), std::pair(3, 2)}) {
    std::atomic<bool> hangs{false};
    std::atomic<int> told{0};
    runtime::HangOptions hang;
    hang.seconds = 0.3;
    hang.test_rank = hung;
    hang.test_hang = &hangs;
    hang.on_hang = [&](const std::string& why) {
      EXPECT_EQ(why.substr(0, 31), "rank " + std::to_string(hung) + " hangs: has not moved for");
      ++told;
    };
    auto served = ServeWith(hang, ranks);
    runtime::Executor& executor = *served->executor;
    std::atomic<int> changes{0};
    executor.SetStateListener([&] { ++changes; });
    Fill(executor.NextStep(), 0, {0, 1});
    executor.Submit();
    EXPECT_TRUE(executor.Wait().status.ok());
    executor.Release();
    EXPECT_TRUE(executor.state().ready);
    hangs.store(true);
    for (int i = 0; i < 3; ++i) {
      Fill(executor.NextStep(), 2, {2});
      executor.Submit();
      const absl::Status status = executor.Wait().status;
      EXPECT_TRUE(absl::IsUnavailable(status)) << status;
      EXPECT_EQ(status, executor.failure());
      executor.Release();
    }
    EXPECT_FALSE(executor.state().ready);
    while (told.load() == 0) std::this_thread::yield();
    EXPECT_EQ(changes.load(), 1);
    hangs.store(false);
  }
}

// Every actor fires, nothing but what is exchanged moves, and it is as much as ever.
TEST_P(RanksTest, EmptyOperatorsFireAndExchange) {
  auto served = Serve("ultramem_v2", GetParam());
  auto empty = runtime::LocalExecutor::CreateEmpty(served->planned.plan, served->weights).value();
  const auto exchanged = [](const kernels::Traffic& traffic) {
    return traffic.read_bytes[static_cast<int>(kernels::TrafficClass::kExchange)];
  };
  constexpr int32_t kSteps = 3;
  for (int32_t i = 0; i < kSteps; ++i) {
    kernels::Traffic moved[2];
    for (runtime::LocalExecutor* executor : {served->executor.get(), empty.get()}) {
      Fill(executor->NextStep(), 2 * i, {i, i + 1});
      executor->Submit();
      const runtime::StepResult& result = executor->Wait();
      ASSERT_TRUE(result.status.ok()) << result.status;
      moved[executor == empty.get() ? 1 : 0] = result.traffic;
      EXPECT_EQ(result.logits.rows, 1);
      executor->Release();
    }
    EXPECT_EQ(exchanged(moved[1]), exchanged(moved[0]));
    EXPECT_EQ(exchanged(moved[0]) > 0, GetParam() > 1);
    for (const auto kind : {kernels::TrafficClass::kDenseWeights, kernels::TrafficClass::kValueRows,
                            kernels::TrafficClass::kKv}) {
      EXPECT_GT(moved[0].read_bytes[static_cast<int>(kind)], 0u);
      EXPECT_EQ(moved[1].read_bytes[static_cast<int>(kind)], 0u);
    }
  }
  for (int32_t r = 0; r < GetParam(); ++r) {
    const std::vector<runtime::ActorProfile> profile = empty->rank(r).Profile();
    // Those of programs for larger steps stand behind.
    const auto own = static_cast<size_t>(served->planned.plan.actors_size());
    ASSERT_GE(profile.size(), own);
    for (size_t i = 0; i < profile.size(); ++i) {
      EXPECT_EQ(profile[i].fired, i < own ? uint64_t{kSteps} : 0u) << profile[i].name;
    }
  }
}

TEST(LocalExecutorTest, EndsWithStepsUnderWay) {
  for (int round = 0; round < 20; ++round) {
    auto served = Serve("dense", 1 + round % 4);
    for (int32_t i = 0; i < round % 3; ++i) {
      Fill(served->executor->NextStep(), i, {i});
      served->executor->Submit();
    }
  }
}

}  // namespace
}  // namespace mneme::testing
