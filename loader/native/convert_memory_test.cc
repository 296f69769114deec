// Anonymous memory of converting a table that is far larger. A process of its own, because the
// peak is the process's.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "loader/native/convert.h"
#include "loader/native/test_checkpoint.h"
#include "loader/safetensors/safetensors.h"

namespace mneme::loader {
namespace {

constexpr int64_t kRows = int64_t{5} << 20;
constexpr int64_t kTableBytes = kRows * (16 + 80) * 2;  // 1 GB

// A file with a table of 16 pre-values and 80 values of bf16 a row. The zeros are a hole in the
// file, which costs no disk; its pages are read like any others.
Checkpoint SparseTable(const std::string& folder) {
  const auto range = [](int64_t begin, int64_t end) {
    return "[" + std::to_string(begin) + "," + std::to_string(end) + "]}";
  };
  const std::string rows = std::to_string(kRows);
  const std::string header = R"({"pre":{"dtype":"BF16","shape":[)" + rows +
                             R"(,16],"data_offsets":)" + range(0, kRows * 32) +
                             R"(,"values":{"dtype":"BF16","shape":[)" + rows +
                             R"(,80],"data_offsets":)" + range(kRows * 32, kTableBytes) + "}";
  const std::string path = folder + "/model.safetensors";
  std::ofstream file(path, std::ios::binary);
  for (int i = 0; i < 8; ++i) file.put(static_cast<char>(header.size() >> (8 * i)));
  file << header;
  file.close();
  EXPECT_EQ(truncate(path.c_str(), static_cast<off_t>(8 + header.size() + kTableBytes)), 0);
  std::ofstream(folder + "/config.yaml") << "# none\n";
  Checkpoint checkpoint;
  checkpoint.directory = folder;
  auto files = SafetensorsFile::Open(path);
  EXPECT_TRUE(files.ok()) << files.status();
  checkpoint.files = *std::move(files);
  checkpoint.weights[{Role::kMemoryTable, -1}].parts = {
      {&checkpoint.files->tensors().at("pre"), 0, kRows, 16},
      {&checkpoint.files->tensors().at("values"), 0, kRows, 80}};
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
  const Checkpoint checkpoint = SparseTable(in);
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
  EXPECT_GT(report->bytes, kTableBytes);
  // Three pieces of 16 MiB and little else; a sanitizer has a shadow of an eighth of what is used.
  EXPECT_LT(anonymous - before, int64_t{256} << 20);
  EXPECT_LT(mapped - mapped_before, int64_t{256} << 20);
  RecordProperty("anonymous_bytes", std::to_string(anonymous - before));
  RecordProperty("mapped_bytes", std::to_string(mapped - mapped_before));
  std::filesystem::remove_all(out);
}

}  // namespace
}  // namespace mneme::loader
