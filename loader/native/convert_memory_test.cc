// Converting tables that are larger than memory may be, and larger than the disk is. A process of
// its own, because peaks are the process's.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/device/buffer.h"
#include "loader/native/convert.h"
#include "loader/native/output_file.h"
#include "loader/native/test_checkpoint.h"
#include "loader/native/weight_rows.h"
#include "loader/pack/rope_tables.h"
#include "loader/safetensors/safetensors.h"

namespace mneme::loader {
namespace {

constexpr int64_t kRowBytes = (16 + 80) * 2;

// A file with a table of 16 pre-values and 80 values of bf16 a row. The zeros are a hole in the
// file, which costs no disk; its pages are read like any others.
// Without files where the file system has no files so large.
Checkpoint SparseTable(const std::string& folder, int64_t table_rows) {
  const auto range = [](int64_t begin, int64_t end) {
    return "[" + std::to_string(begin) + "," + std::to_string(end) + "]}";
  };
  const std::string rows = std::to_string(table_rows);
  const std::string header =
      R"({"pre":{"dtype":"BF16","shape":[)" + rows + R"(,16],"data_offsets":)" +
      range(0, table_rows * 32) + R"(,"values":{"dtype":"BF16","shape":[)" + rows +
      R"(,80],"data_offsets":)" + range(table_rows * 32, table_rows * kRowBytes) + "}";
  const std::string path = folder + "/model.safetensors";
  std::ofstream file(path, std::ios::binary);
  for (int i = 0; i < 8; ++i) file.put(static_cast<char>(header.size() >> (8 * i)));
  file << header;
  file.close();
  Checkpoint checkpoint;
  checkpoint.directory = folder;
  const auto bytes = static_cast<off_t>(8 + header.size()) + table_rows * kRowBytes;
  if (truncate(path.c_str(), bytes) != 0) return checkpoint;
  std::ofstream(folder + "/config.yaml") << "# none\n";
  auto files = SafetensorsFile::Open(path);
  EXPECT_TRUE(files.ok()) << files.status();
  checkpoint.files = *std::move(files);
  checkpoint.weights[{Role::kMemoryTable, -1}].parts = {
      {&checkpoint.files->tensors().at("pre"), 0, table_rows, 16},
      {&checkpoint.files->tensors().at("values"), 0, table_rows, 80}};
  return checkpoint;
}

// A line of /proc/self/status, in bytes.
int64_t Status(const std::string& name) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name + ":")) return std::stoll(line.substr(name.size() + 1)) * 1024;
  }
  ADD_FAILURE() << name;
  return 0;
}

TEST(ConvertMemoryTest, NeitherTheSourceNorTheResultStaysInMemory) {
  const std::string in = FreshFolder("in");
  const std::string out = FreshFolder("out");
  constexpr int64_t kRows = int64_t{5} << 20;
  const Checkpoint checkpoint = SparseTable(in, kRows);  // 1 GB
  ASSERT_NE(checkpoint.files, nullptr);
  const int64_t before = Status("RssAnon");
  const int64_t mapped_before = Status("RssFile");
  std::atomic<bool> done = false;
  int64_t anonymous = 0;
  int64_t mapped = 0;
  std::thread sampler([&] {
    while (!done) {
      anonymous = std::max(anonymous, Status("RssAnon"));
      mapped = std::max(mapped, Status("RssFile"));
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  });
  const auto report = ConvertCheckpoint(checkpoint, out, {}, {});
  done = true;
  sampler.join();
  EXPECT_TRUE(report.ok()) << report.status();
  EXPECT_GT(report->bytes, kRows * kRowBytes);
  // Three pieces of 16 MiB and little else; a sanitizer has a shadow of an eighth of what is used.
  EXPECT_LT(anonymous - before, int64_t{256} << 20);
  EXPECT_LT(mapped - mapped_before, int64_t{256} << 20);
  RecordProperty("anonymous_bytes", std::to_string(anonymous - before));
  RecordProperty("mapped_bytes", std::to_string(mapped - mapped_before));
  std::filesystem::remove_all(out);
}

// Both tables whole would have 1 GiB.
TEST(ConvertMemoryTest, RopeTablesAreNotHeldWhole) {
  Checkpoint checkpoint;
  checkpoint.model.attention.head_dim = 128;
  checkpoint.model.max_sequence_length = int64_t{2} << 20;
  const WeightId id{Role::kRopeSin, -1};
  checkpoint.weights[id];
  const ManifestWeight shape{
      .name = "rope_sin", .rows = int64_t{2} << 20, .cols = 64, .block_rows = int64_t{2} << 20};
  constexpr int64_t kRows = 100;
  auto out = kernels::Buffer::Allocate(kRows * shape.row_bytes(), kernels::Pages::kNormal);
  ASSERT_TRUE(out.ok()) << out.status();
  std::vector<float> cos(kRows * 64), sin(kRows * 64);
  const int64_t first = shape.rows - kRows;
  FillRope(checkpoint.model.attention, {first, kRows}, cos.data(), sin.data());
  const int64_t before = Status("RssAnon");
  WeightRows rows(checkpoint, {});
  rows.Read(id, shape, 0, first, kRows, out->data());
  EXPECT_LT(Status("RssAnon") - before, int64_t{64} << 20);
  EXPECT_EQ(std::memcmp(out->data(), sin.data(), sin.size() * sizeof(float)), 0);
}

TEST(ConvertMemoryTest, ADiskThatIsTooSmallIsKnownBeforeAnythingIsWritten) {
  const std::string out = FreshFolder("out");
  constexpr int64_t kBytes = int64_t{10} << 40;
  if (FreeBytes(out) >= kBytes / 2) GTEST_SKIP() << "this disk may be large enough";
  const Checkpoint checkpoint = SparseTable(FreshFolder("in"), kBytes / kRowBytes);
  if (checkpoint.files == nullptr) GTEST_SKIP() << "no file may be so large here";
  const absl::Status full = ConvertCheckpoint(checkpoint, out, {}, {}).status();
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted) << full;
  EXPECT_THAT(std::string(full.message()), testing::AllOf(testing::StartsWith(out + ": 1"),
                                                          testing::HasSubstr(" bytes are needed, "),
                                                          testing::EndsWith(" are free")));
  EXPECT_TRUE(std::filesystem::is_empty(out));
}

}  // namespace
}  // namespace mneme::loader
