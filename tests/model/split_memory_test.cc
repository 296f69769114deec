// A model that is more than a rank may hold, on four processes of this host: each holds what the
// plan says, by the kernel's account.

#include <unistd.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "clients/cli/invocation.h"
#include "engine/make_executor.h"
#include "engine/rank_weights.h"
#include "engine/ranks/process_executor.h"
#include "gtest/gtest.h"
#include "tests/model/table_checkpoint.h"

namespace mneme::testing {
namespace {

constexpr int64_t kKeys = 960;  // a table of 354 MB
constexpr int32_t kProcesses = 4;

// Bytes that a process has in memory of its own: anonymous, and pages of the checkpoint that it
// maps. Mappings of less than a megabyte are no weights.
int64_t HeldBytes(int pid, const std::string& checkpoint) {
  std::ifstream smaps(absl::StrCat("/proc/", pid, "/smaps"));
  int64_t bytes = 0;
  bool counts = false;
  for (std::string line; std::getline(smaps, line);) {
    uint64_t begin = 0, end = 0;
    char rights[8], path[4096] = "";
    int64_t kib = 0;
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " %4s %*s %*s %*s %4095s", &begin, &end,
                    rights, path) >= 3) {
      const std::string name = path;
      counts = end - begin >= 1 << 20 &&
               (name.empty() || name == "[heap]" || name.find(checkpoint) == 0);
    } else if (std::sscanf(line.c_str(), "Rss: %" SCNd64 " kB", &kib) == 1 && counts) {
      bytes += kib * 1024;
    }
  }
  return bytes;
}

TEST(SplitMemoryTest, EachProcessHoldsItsPartOfAModelThatNoneCanHold) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer's own memory would be measured";
#endif
  const std::string directory = ::testing::TempDir() + "/table";
  ASSERT_EQ(std::system(("mkdir -p " + directory).c_str()), 0);
  const absl::Status written = WriteTableCheckpoint(directory, kKeys);
  ASSERT_TRUE(written.ok()) << written;
  const std::string file = directory + "/model.safetensors";

  ModelOptions options;
  options.model_directory = directory;
  options.max_step_tokens = 16;
  options.max_sequences = 1;
  options.cost.exchange_seconds = 1;  // nothing is split that need not be
  options.process.processes = kProcesses;
  options.process.executable = "clients/cli/mneme";
  options.process.build = cli::kVersion;
  const absl::StatusOr<PlannedModel> whole = PlanModel(options);
  ASSERT_TRUE(whole.ok()) << whole.status();
  const int64_t model = whole->plan.memory(0).weight_bytes();
  EXPECT_GE(model, kKeys * kKeys * kTableRowBytes);

  options.memory_per_rank_bytes = model * 35 / 100;
  const absl::StatusOr<PlannedModel> planned = PlanModel(options);
  ASSERT_TRUE(planned.ok()) << planned.status();
  const int64_t before = HeldBytes(getpid(), file);
  const absl::StatusOr<loader::PackedWeights> weights = PackRank(*planned, options, 0);
  ASSERT_TRUE(weights.ok()) << weights.status();
  const auto executor = MakeExecutor(*planned, *weights, options);
  ASSERT_TRUE(executor.ok()) << executor.status();
  const auto& processes = dynamic_cast<const ranks::ProcessExecutor&>(**executor);
  // A step, so that everything is read that steps read.
  runtime::Step* step = (*executor)->NextStep();
  const std::vector<int32_t> tokens = {1, 2, 3};
  step->AddBlockChange(0, 0, 0);
  step->AddSpan(0, 0, tokens);
  step->AddLogitRow(2);
  (*executor)->Submit();
  EXPECT_TRUE((*executor)->Wait().status.ok());
  (*executor)->Release();

  int64_t all = 0;
  for (int32_t rank = 0; rank < kProcesses; ++rank) {
    const v1::RankMemory& memory = planned->plan.memory(rank);
    const int64_t held = rank == 0 ? HeldBytes(getpid(), file) - before
                                   : HeldBytes(processes.process_id(rank), file);
    std::printf("rank %d: plan %.1f MB of weights, held %.1f MB\n", rank,
                static_cast<double>(memory.weight_bytes()) / 1e6, static_cast<double>(held) / 1e6);
    EXPECT_NEAR(static_cast<double>(held) / static_cast<double>(memory.weight_bytes()), 1, 0.1);
    EXPECT_LE(memory.weight_bytes() + memory.kv_bytes() + memory.arena_bytes(),
              options.memory_per_rank_bytes);
    EXPECT_LE(static_cast<double>(held), 0.35 * static_cast<double>(model));
    all += held;
  }
  EXPECT_GE(all, model);  // the measurement sees the table at all
}

}  // namespace
}  // namespace mneme::testing
