// A model that is more than a rank may hold, on four processes of this host: each holds what the
// plan says, by the kernel's account.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "clients/cli/invocation.h"
#include "engine/make_executor.h"
#include "engine/rank_weights.h"
#include "engine/ranks/process_executor.h"
#include "gtest/gtest.h"
#include "loader/families/made_up_checkpoint.h"
#include "loader/native/convert.h"
#include "loader/native/native_checkpoint.h"
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

// The bytes of a native checkpoint's table, from its beginning, whose pages are in the memory of
// the process: where each of them begins.
std::set<int64_t> PresentPages(int pid, const std::string& native,
                               const loader::ManifestWeight& table,
                               const loader::Manifest& manifest) {
  constexpr int64_t kPage = 4096;
  std::set<int64_t> pages;
  std::ifstream maps(absl::StrCat("/proc/", pid, "/maps"));
  const int pagemap = open(absl::StrCat("/proc/", pid, "/pagemap").c_str(), O_RDONLY | O_CLOEXEC);
  for (std::string line; std::getline(maps, line);) {
    uint64_t begin = 0, end = 0, offset = 0, inode = 0;
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64 " %*s %" SCNu64, &begin,
                    &end, &offset, &inode) != 4) {
      continue;
    }
    // Mappings of neighbouring blocks come as one.
    int64_t of_table = 0;
    for (const loader::ManifestTensor& block : table.tensors) {
      // Paths differ with whoever sees them.
      struct stat file;
      const std::string path = native + "/" + manifest.shards[block.shard - 1].file;
      if (stat(path.c_str(), &file) != 0 || file.st_ino != inode) {
        of_table += block.bytes;
        continue;
      }
      const int64_t first = std::max<int64_t>(block.offset, static_cast<int64_t>(offset));
      const int64_t last =
          std::min(block.offset + block.bytes, static_cast<int64_t>(offset + (end - begin)));
      for (int64_t at = first; at < last; at += kPage) {
        uint64_t entry = 0;
        const uint64_t address = begin + static_cast<uint64_t>(at) - offset;
        const auto place = static_cast<off_t>(address / kPage * sizeof entry);
        const ssize_t got = pread(pagemap, &entry, sizeof entry, place);
        if (got == sizeof entry && entry >> 63 != 0) pages.insert(of_table + at - block.offset);
      }
      of_table += block.bytes;
    }
  }
  close(pagemap);
  return pages;
}

// Rows of 512 bytes, for two ranks 4096 of them in a block: a fault brings at most the 2 MiB that
// the page cache may have in one piece, which is a block.
constexpr loader::MadeUpSize kBlocksOfHugePages{.layers = 1,
                                                .dim = 256,
                                                .mlp_hidden = 128,
                                                .embedding_size = 512,
                                                .keys = 725,
                                                .key_dim = 32,
                                                .value_dim = 192,
                                                .pre_value_dim = 64,
                                                .max_sequence_length = 128};

// A model of that size, converted into several files.
std::string MakeNative() {
  const std::string source = ::testing::TempDir() + "/source";
  std::string native = ::testing::TempDir() + "/native";
  std::filesystem::create_directories(source);
  const absl::Status written = loader::WriteMadeUpCheckpoint(kBlocksOfHugePages, source);
  EXPECT_TRUE(written.ok()) << written;
  loader::ConvertOptions convert;
  convert.shard_bytes = int64_t{128} << 20;
  const auto report =
      loader::ConvertCheckpoint(loader::InspectCheckpoint(source).value(), native, convert, {});
  EXPECT_TRUE(report.ok()) << report.status();
  EXPECT_GE(report->shards, 3);
  return native;
}

// Of a converted model nothing is copied: each process has the whole table in its address space,
// and in memory what it read, which is of its own blocks of rows.
TEST(SplitMemoryTest, OfAMappedTableEachProcessTouchesItsOwnBlocks) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer's own memory would be measured";
#endif
  constexpr int32_t kRanks = 2;
  constexpr int32_t kTokens = 16;  // of a step
  constexpr int64_t kBlockBytes = int64_t{2} << 20;
  const std::string native = MakeNative();
  ModelOptions options;
  options.model_directory = native;
  options.max_step_tokens = kTokens;
  options.max_sequences = 1;
  options.cost.exchange_seconds = 1e-12;
  options.pins.tables = plan::LayoutPins::Tables::kRows;
  options.process.processes = kRanks;
  options.process.executable = "clients/cli/mneme";
  options.process.build = cli::kVersion;
  const PlannedModel planned = PlanModel(options).value();
  const loader::PackedWeights weights = PackRank(planned, options, 0).value();
  const loader::WeightId id{loader::Role::kMemoryTable, -1};
  EXPECT_EQ(weights.at(id).table.rows, kBlocksOfHugePages.keys * kBlocksOfHugePages.keys);
  EXPECT_TRUE(weights.at(id).in_place);
  for (const v1::Weight& w : planned.plan.weights()) {
    if (w.value_table()) {
      ASSERT_EQ(w.layout().block() * 512, kBlockBytes);
    }
  }
  const auto executor = MakeExecutor(planned, weights, options).value();
  for (int32_t s = 0; s < 4; ++s) {
    runtime::Step* step = executor->NextStep();
    std::vector<int32_t> tokens;
    for (int32_t i = 0; i < kTokens; ++i) tokens.push_back((s * kTokens + i) * 7 % 512);
    for (int32_t b = 0; s == 0 && b < 8; ++b) step->AddBlockChange(0, b, b);
    step->AddSpan(0, s * kTokens, tokens);
    step->AddLogitRow(kTokens - 1);
    executor->Submit();
    EXPECT_TRUE(executor->Wait().status.ok());
    executor->Release();
  }

  const loader::NativeCheckpoint opened = loader::OpenNative(native).value();
  const auto& all = opened.manifest.weights;
  const auto table =
      std::find_if(all.begin(), all.end(), [&](const auto& w) { return w.name == WeightName(id); });
  const auto& processes = dynamic_cast<const ranks::ProcessExecutor&>(*executor);
  for (int32_t rank = 0; rank < kRanks; ++rank) {
    const int pid = rank == 0 ? getpid() : processes.process_id(rank);
    const std::set<int64_t> pages = PresentPages(pid, native, *table, opened.manifest);
    std::set<int64_t> blocks;
    for (const int64_t page : pages) {
      ASSERT_EQ(page / kBlockBytes % kRanks, rank) << "a page at " << page << " of the table";
      blocks.insert(page / kBlockBytes);
    }
    EXPECT_GT(blocks.size(), 8u) << rank;
  }
}

}  // namespace
}  // namespace mneme::testing
