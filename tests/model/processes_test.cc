// Ranks as processes: the same bits as ranks that are threads, whatever happens to one is noticed
// and mended, and what cannot be is said.

#include <signal.h>
#include <sys/wait.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "clients/cli/invocation.h"
#include "engine/make_executor.h"
#include "engine/rank_weights.h"
#include "engine/ranks/process_executor.h"
#include "engine/ranks/rank_model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/model/golden_case.h"

namespace mneme::testing {
namespace {

using ::testing::HasSubstr;
using Clock = std::chrono::steady_clock;

ModelOptions Options(const std::string& directory, int32_t ranks, bool processes) {
  ModelOptions options;
  options.model_directory = directory;
  options.max_step_tokens = 64;
  options.max_sequences = 4;
  options.trace = true;
  options.ranks = ranks;
  if (processes) {
    options.process.processes = ranks;
    options.process.executable = "clients/cli/mneme";
    options.process.build = cli::kVersion;
  }
  // As if exchanges cost nothing: whatever can be split is.
  options.cost.exchange_seconds = 0;
  options.cost.exchange_seconds_per_rank = 0;
  return options;
}

// A model with its executor; one sequence at a time.
struct Served {
  PlannedModel planned;
  loader::PackedWeights weights;
  std::unique_ptr<runtime::Executor> executor;

  static absl::StatusOr<std::unique_ptr<Served>> Start(const ModelOptions& options) {
    auto served = std::make_unique<Served>();
    auto planned = PlanModel(options);
    if (!planned.ok()) return planned.status();
    served->planned = *std::move(planned);
    auto weights = options.process.processes > 1 ? PackRank(served->planned, options, 0)
                                                 : PackModel(served->planned, options);
    if (!weights.ok()) return weights.status();
    served->weights = *std::move(weights);
    auto executor = MakeExecutor(served->planned, served->weights, options);
    if (!executor.ok()) return executor.status();
    served->executor = *std::move(executor);
    return served;
  }

  const ranks::ProcessExecutor& processes() const {
    return dynamic_cast<const ranks::ProcessExecutor&>(*executor);
  }

  // One step of these tokens; the logits of all rows, or why it failed.
  absl::StatusOr<std::vector<float>> Step(int32_t position, const std::vector<int32_t>& tokens) {
    runtime::Step* step = executor->NextStep();
    if (position == 0) {
      for (int32_t b = 0; b < 4; ++b) step->AddBlockChange(0, b, b);
    }
    step->AddSpan(0, position, tokens);
    for (int32_t row = 0; row < step->tokens(); ++row) step->AddLogitRow(row);
    executor->Submit();
    const runtime::StepResult& result = executor->Wait();
    if (!result.status.ok()) {
      const absl::Status status = result.status;
      executor->Release();
      return status;
    }
    traffic = result.traffic;
    std::vector<float> logits;
    for (int64_t r = 0; r < result.logits.rows; ++r) {
      logits.insert(logits.end(), result.logits.row(r), result.logits.row(r) + result.logits.cols);
    }
    for (const char* name : {"memory.0.grid", "memory.0.score", "memory.0.out"}) {
      const kernels::TensorView view = executor->Trace(name);
      traced[name].assign(static_cast<const uint8_t*>(view.data),
                          static_cast<const uint8_t*>(view.data) + view.rows * view.cols * 4);
    }
    executor->Release();
    return logits;
  }

  // Waits until steps can run again.
  bool AwaitReady(std::chrono::seconds most) {
    for (const Clock::time_point end = Clock::now() + most; Clock::now() < end;) {
      if (executor->state().ready) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }

  kernels::Traffic traffic;
  std::map<std::string, std::vector<uint8_t>> traced;
};

bool NoChildIsLeft() { return waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD; }

class ProcessesTest : public ::testing::TestWithParam<std::string> {};

// One of two sets of processes divides larger steps by rows: the same bits, by other moves.
void GiveTheSameBits(const GoldenCase& golden, const plan::LayoutPins& pins) {
  for (int32_t ranks : {2, 3}) {
    const auto start = [&](bool processes, bool tcp, bool rows) {
      ModelOptions options = Options(golden.directory(), ranks, processes);
      options.process.tcp = tcp;
      options.pins = pins;
      using LargeSteps = plan::LayoutPins::LargeSteps;
      options.pins.large_steps = rows ? LargeSteps::kRows : LargeSteps::kSame;
      return Served::Start(options).value();
    };
    const auto threads = start(false, false, false);
    const std::unique_ptr<Served> processes[] = {start(true, false, ranks == 2),
                                                 start(true, true, ranks == 3)};
    int32_t position = 0;
    for (const std::vector<int32_t>& tokens : {golden.Rows("input_ids")[0], {3}, {5}, {7, 11}}) {
      const std::vector<float> expected = threads->Step(position, tokens).value();
      for (const auto& served : processes) {
        ASSERT_EQ(served->Step(position, tokens).value(), expected);
        const bool rows = served->planned.plan.programs_size() > 0;
        EXPECT_TRUE(rows || served->traffic == threads->traffic);
        EXPECT_EQ(served->traced, threads->traced);
      }
      position += static_cast<int32_t>(tokens.size());
    }
  }
  EXPECT_TRUE(NoChildIsLeft());
}

TEST_P(ProcessesTest, GiveTheBitsThatThreadsGive) { GiveTheSameBits(GoldenCase(GetParam()), {}); }

// Every weight that can be cut is: each process has its parts only.
TEST_P(ProcessesTest, GiveTheBitsThatThreadsGiveWithEverythingSplit) {
  const GoldenCase golden(GetParam());
  plan::LayoutPins pins;
  pins.weights = plan::LayoutPins::Weights::kSplit;
  const bool memory = golden.Has("mem_grid_index.0");
  using Tables = plan::LayoutPins::Tables;
  const auto layouts = memory ? std::vector<Tables>{Tables::kRows, Tables::kColumns}
                              : std::vector<Tables>{Tables::kFree};
  for (Tables tables : layouts) {
    pins.tables = tables;
    GiveTheSameBits(golden, pins);
  }
}

TEST_P(ProcessesTest, GiveTheBitsThatThreadsGiveWithSelectionsSplit) {
  const GoldenCase golden(GetParam());
  if (!golden.Has("mem_grid_index.0")) return;
  plan::LayoutPins pins;
  pins.tables = plan::LayoutPins::Tables::kSelections;
  GiveTheSameBits(golden, pins);
}

INSTANTIATE_TEST_SUITE_P(Golden, ProcessesTest, ::testing::ValuesIn(GoldenCases()));

constexpr char kModel[] = "tests/golden/ultramem_v2";

TEST(ProcessFaultTest, AKilledRankComesBackAndTheBitsAreTheSame) {
  std::mutex mutex;
  std::string log;
  ModelOptions options = Options(kModel, 3, true);
  options.process.log = [&](const std::string& line) {
    const std::lock_guard lock(mutex);
    absl::StrAppend(&log, line, "\n");
  };
  auto served = Served::Start(options).value();
  const std::vector<float> expected = served->Step(0, {1, 2, 3}).value();
  for (int32_t rank : {1, 2}) {
    const uint64_t generation = served->executor->state().generation;
    const int pid = served->processes().process_id(rank);
    kill(pid, SIGKILL);
    // Noticed with or without a step.
    absl::StatusOr<std::vector<float>> got = served->Step(0, {1, 2, 3});
    for (int i = 0; got.ok() && i < 1000; ++i) got = served->Step(0, {1, 2, 3});
    ASSERT_TRUE(absl::IsUnavailable(got.status()));
    EXPECT_THAT(std::string(got.status().message()),
                HasSubstr(absl::StrCat("rank ", rank, " (process ", pid, "): ")));
    ASSERT_TRUE(served->AwaitReady(std::chrono::seconds(60)));
    EXPECT_EQ(served->executor->state().generation, generation + 1);
    EXPECT_NE(served->processes().process_id(rank), pid);
    EXPECT_EQ(served->Step(0, {1, 2, 3}).value(), expected);
  }
  const std::lock_guard lock(mutex);
  EXPECT_THAT(log, HasSubstr("it is started again"));
  EXPECT_THAT(log, HasSubstr("all ranks are back after"));
}

// In the middle of steps, between them, twice in a row: each step gives all its bits or an error,
// soon.
void KillAtAnyMoment(bool tcp) {
  ModelOptions options = Options(kModel, 2, true);
  options.process.tcp = tcp;
  auto served = Served::Start(options).value();
  const std::vector<float> expected = served->Step(0, {1, 2, 3}).value();
  std::mt19937 random(5);
  int failed = 0;
  for (int round = 0; round < 50; ++round) {
    ASSERT_TRUE(served->AwaitReady(std::chrono::seconds(60)));
    const int pid = served->processes().process_id(1);
    const auto delay = std::chrono::microseconds(random() % 3000);
    std::thread killer([&] {
      std::this_thread::sleep_for(delay);
      kill(pid, SIGKILL);
    });
    const Clock::time_point begin = Clock::now();
    for (bool lost = false; !lost;) {
      const absl::StatusOr<std::vector<float>> got = served->Step(0, {1, 2, 3});
      if (got.ok()) {
        ASSERT_EQ(*got, expected) << round;
      } else {
        ASSERT_TRUE(absl::IsUnavailable(got.status())) << got.status();
        lost = true;
        ++failed;
      }
      ASSERT_LT(Clock::now() - begin, std::chrono::seconds(30));
    }
    killer.join();
  }
  EXPECT_EQ(failed, 50);
  ASSERT_TRUE(served->AwaitReady(std::chrono::seconds(60)));
  EXPECT_EQ(served->Step(0, {1, 2, 3}).value(), expected);
}

TEST(ProcessFaultTest, KillsAtAnyMomentWithSharedMemory) { KillAtAnyMoment(false); }
TEST(ProcessFaultTest, KillsAtAnyMomentOverTcp) { KillAtAnyMoment(true); }

// The survivors wait for the one that is gone, and are asked to leave it.
TEST(ProcessFaultTest, SurvivorsOverTcpAreNotStartedAgain) {
  ModelOptions options = Options(kModel, 3, true);
  options.process.tcp = true;
  auto served = Served::Start(options).value();
  const std::vector<float> expected = served->Step(0, {1, 2, 3}).value();
  for (int round = 0; round < 5; ++round) {
    const int survivor = served->processes().process_id(1);
    kill(served->processes().process_id(2), SIGKILL);
    while (served->Step(0, {1, 2, 3}).ok()) {
    }
    ASSERT_TRUE(served->AwaitReady(std::chrono::seconds(60)));
    EXPECT_EQ(served->processes().process_id(1), survivor);
    EXPECT_EQ(served->Step(0, {1, 2, 3}).value(), expected);
  }
}

TEST(ProcessFaultTest, AStoppedRankIsStartedAgainAfterItsTimeout) {
  ModelOptions options = Options(kModel, 2, true);
  options.process.rank_timeout_seconds = 1;
  auto served = Served::Start(options).value();
  const std::vector<float> expected = served->Step(0, {1, 2, 3}).value();
  const int pid = served->processes().process_id(1);
  kill(pid, SIGSTOP);
  const Clock::time_point begin = Clock::now();
  const absl::StatusOr<std::vector<float>> got = served->Step(0, {1, 2, 3});
  EXPECT_TRUE(absl::IsUnavailable(got.status()));
  EXPECT_THAT(std::string(got.status().message()), HasSubstr("has not been heard of for"));
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(20));
  ASSERT_TRUE(served->AwaitReady(std::chrono::seconds(60)));
  EXPECT_NE(served->processes().process_id(1), pid);
  EXPECT_EQ(served->Step(0, {1, 2, 3}).value(), expected);
}

// Its heart beats, but it does not move.
TEST(ProcessFaultTest, AHungRankIsStartedAgain) {
  const ModelOptions options = Options(kModel, 2, true);
  const PlannedModel planned = PlanModel(options).value();
  const loader::PackedWeights weights = PackModel(planned, options).value();
  v1::RankSetup setup;
  *setup.mutable_source() = ranks::SourceOf(planned).value();
  setup.set_test_hang_step(2);
  ranks::ProcessOptions process;
  process.executable = options.process.executable;
  process.build = options.process.build;
  process.hang.seconds = 0.5;
  Served served;
  served.executor = ranks::ProcessExecutor::Create(planned.plan, weights, setup, process).value();
  const std::vector<float> expected = served.Step(0, {1, 2, 3}).value();
  const absl::StatusOr<std::vector<float>> got = served.Step(0, {1, 2, 3});
  EXPECT_TRUE(absl::IsUnavailable(got.status()));
  EXPECT_THAT(std::string(got.status().message()), HasSubstr("hangs: has not moved for"));
  ASSERT_TRUE(served.AwaitReady(std::chrono::seconds(60)));
  EXPECT_EQ(served.Step(0, {1, 2, 3}).value(), expected);
}

// One that stops for less than its timeout is waited for.
TEST(ProcessFaultTest, AShortStopOnlyDelays) {
  auto served = Served::Start(Options(kModel, 2, true)).value();
  const std::vector<float> expected = served->Step(0, {1, 2, 3}).value();
  const int pid = served->processes().process_id(1);
  kill(pid, SIGSTOP);
  std::thread waker([pid] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    kill(pid, SIGCONT);
  });
  EXPECT_EQ(served->Step(0, {1, 2, 3}).value(), expected);
  waker.join();
  EXPECT_EQ(served->processes().process_id(1), pid);
}

TEST(ProcessFaultTest, AnExecutorWithAKilledRankEndsCleanly) {
  for (int round = 0; round < 5; ++round) {
    auto served = Served::Start(Options(kModel, 3, true)).value();
    kill(served->processes().process_id(2), SIGKILL);
    if (round > 0) (void)served->Step(0, {1, 2, 3});
  }
  EXPECT_TRUE(NoChildIsLeft());
}

// With steps that nobody waited for, or released; a rank may be gone besides.
TEST(ProcessFaultTest, AnExecutorWithStepsUnderWayEndsCleanly) {
  for (int kind = 0; kind < 4; ++kind) {
    auto served = Served::Start(Options(kModel, 2, true)).value();
    for (int32_t i = 0; i < 2; ++i) {
      served->executor->NextStep()->AddSpan(0, i, {&i, 1});
      served->executor->Submit();
    }
    if (kind % 2 == 1) kill(served->processes().process_id(1), SIGKILL);
    if (kind >= 2) served->executor->Wait();
  }
  EXPECT_TRUE(NoChildIsLeft());
}

TEST(ProcessStartTest, AnotherBuildIsRefused) {
  ModelOptions options = Options(kModel, 2, true);
  options.process.build = "0.0.1";
  const auto served = Served::Start(options);
  EXPECT_TRUE(absl::IsFailedPrecondition(served.status()));
  EXPECT_THAT(std::string(served.status().message()),
              HasSubstr(absl::StrCat("the front is build 0.0.1, rank 1 is build ", cli::kVersion)));
  EXPECT_TRUE(NoChildIsLeft());
}

// A rank whose copy of the model is not the front's says which file differs.
TEST(ProcessStartTest, AnotherModelIsRefused) {
  const std::string copy = std::filesystem::path(::testing::TempDir()) / "model";
  std::filesystem::create_directory(copy);
  for (const char* file : {"config.yaml", "model.safetensors"}) {
    std::filesystem::copy_file(absl::StrCat(kModel, "/", file), absl::StrCat(copy, "/", file));
    std::filesystem::permissions(absl::StrCat(copy, "/", file), std::filesystem::perms::owner_all);
  }
  const ModelOptions options = Options(copy, 2, true);
  const PlannedModel planned = PlanModel(options).value();
  const loader::PackedWeights weights = PackModel(planned, options).value();
  v1::RankSetup setup;
  *setup.mutable_source() = ranks::SourceOf(planned).value();
  ranks::ProcessOptions process;
  process.executable = options.process.executable;
  process.build = options.process.build;
  EXPECT_TRUE(ranks::ProcessExecutor::Create(planned.plan, weights, setup, process).ok());
  std::ofstream(copy + "/config.yaml", std::ios::app) << "\n";
  const auto changed = ranks::ProcessExecutor::Create(planned.plan, weights, setup, process);
  EXPECT_TRUE(absl::IsFailedPrecondition(changed.status()));
  EXPECT_THAT(std::string(changed.status().message()),
              HasSubstr("than the front (there): config.yaml: "));
  std::filesystem::remove(copy + "/model.safetensors");
  const auto gone = ranks::ProcessExecutor::Create(planned.plan, weights, setup, process);
  EXPECT_TRUE(absl::IsNotFound(gone.status())) << gone.status();
  EXPECT_TRUE(NoChildIsLeft());
}

TEST(ProcessStartTest, AnExecutableThatIsNotThereIsNamed) {
  ModelOptions options = Options(kModel, 2, true);
  options.process.executable = "no/such/mneme";
  const auto served = Served::Start(options);
  EXPECT_TRUE(absl::IsUnavailable(served.status()));
  EXPECT_THAT(std::string(served.status().message()),
              HasSubstr("cannot start 'no/such/mneme rank': No such file or directory"));
}

TEST(ProcessStartTest, AnExecutableThatEndsAtOnceIsNamedWithItsEnd) {
  ModelOptions options = Options(kModel, 2, true);
  options.process.executable = "/bin/false";
  const auto served = Served::Start(options);
  EXPECT_TRUE(absl::IsUnavailable(served.status()));
  EXPECT_THAT(std::string(served.status().message()), HasSubstr("rank 1 (process "));
}

}  // namespace
}  // namespace mneme::testing
