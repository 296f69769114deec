// Loading a model whose value table dominates: the peak of resident memory stays within the file,
// the packed table and a tenth.

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>

#include "engine/plan_model.h"
#include "gtest/gtest.h"
#include "tests/model/table_checkpoint.h"

namespace mneme::testing {
namespace {

constexpr int64_t kKeys = 512;

// VmHWM of this process in bytes.
int64_t PeakResidentBytes() {
  std::ifstream file("/proc/self/status");
  std::string line;
  while (std::getline(file, line)) {
    long long kib = 0;
    if (std::sscanf(line.c_str(), "VmHWM: %lld kB", &kib) == 1) return kib * 1024;
  }
  return 0;
}

void ResetPeak() { std::ofstream("/proc/self/clear_refs") << "5"; }

TEST(PackMemoryTest, PeakStaysWithinFileAndTableAndATenth) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer's own memory would be measured";
#endif
  const std::string directory = ::testing::TempDir();
  const absl::Status written = WriteTableCheckpoint(directory, kKeys);
  ASSERT_TRUE(written.ok()) << written;
  ResetPeak();
  const int64_t before = PeakResidentBytes();
  ModelOptions options;
  options.model_directory = directory;
  options.max_step_tokens = 16;
  options.max_sequences = 1;
  const absl::StatusOr<PlannedModel> planned = PlanModel(options);
  ASSERT_TRUE(planned.ok()) << planned.status();
  const absl::StatusOr<loader::PackedWeights> weights = PackModel(*planned, options);
  ASSERT_TRUE(weights.ok()) << weights.status();
  const int64_t peak = PeakResidentBytes() - before;

  const int64_t table = kKeys * kKeys * kTableRowBytes;
  const int64_t file = planned->checkpoint.files->file_bytes();
  EXPECT_GE(weights->owned_bytes(), table);
  EXPECT_GE(peak, table);  // the measurement sees the table at all
  EXPECT_LE(peak, (file + table) * 11 / 10);
  std::printf("file %.1f MB, table %.1f MB, peak %.1f MB\n", static_cast<double>(file) / 1e6,
              static_cast<double>(table) / 1e6, static_cast<double>(peak) / 1e6);
}

}  // namespace
}  // namespace mneme::testing
