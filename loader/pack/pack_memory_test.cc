// Peak memory of packing a value table: the table, and not the file beside it. A process of its
// own, because the peak is the process's.
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "loader/pack/packed_weights.h"
#include "loader/safetensors/safetensors.h"

namespace mneme::loader {
namespace {

constexpr int64_t kRows = int64_t{1} << 20;
constexpr int64_t kTableBytes = kRows * 48 * 4;

// A file with a table of 16 pre-values and 32 values a row. The zeros are a hole in the file, which
// costs no disk; its pages are read like any others.
std::string WriteTable() {
  const std::string path = testing::TempDir() + "/table.safetensors";
  const auto range = [](int64_t begin, int64_t end) {
    return "[" + std::to_string(begin) + "," + std::to_string(end) + "]}";
  };
  const std::string rows = std::to_string(kRows);
  const std::string header = R"({"pre":{"dtype":"F32","shape":[)" + rows +
                             R"(,16],"data_offsets":)" + range(0, kRows * 64) +
                             R"(,"values":{"dtype":"F32","shape":[)" + rows +
                             R"(,32],"data_offsets":)" + range(kRows * 64, kTableBytes) + "}";
  std::ofstream file(path, std::ios::binary);
  for (int i = 0; i < 8; ++i) file.put(static_cast<char>(header.size() >> (8 * i)));
  file << header;
  file.close();
  EXPECT_EQ(truncate(path.c_str(), static_cast<off_t>(8 + header.size() + kTableBytes)), 0);
  return path;
}

int64_t PeakBytes() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

TEST(PackMemoryTest, TheSourceOfATableDoesNotStayInMemory) {
  const std::string path = WriteTable();
  auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  Checkpoint checkpoint;
  checkpoint.files = *file;
  WeightSource& source = checkpoint.weights[{Role::kMemoryTable, -1}];
  source.parts.push_back({&checkpoint.files->tensors().at("pre"), 0, kRows, 16});
  source.parts.push_back({&checkpoint.files->tensors().at("values"), 0, kRows, 32});
  const int64_t before = PeakBytes();
  const auto packed = PackedWeights::Pack(checkpoint, {{Role::kMemoryTable, -1}}, {});
  ASSERT_TRUE(packed.ok()) << packed.status();
  EXPECT_EQ(packed->at({Role::kMemoryTable, -1}).bytes, kTableBytes);
  EXPECT_EQ(packed->owned_bytes(), kTableBytes);
  // Twice the table if the source stayed; the slack is for a sanitizer's shadow of the table.
  EXPECT_LT(PeakBytes() - before, kTableBytes * 3 / 2);
  RecordProperty("peak_bytes", std::to_string(PeakBytes() - before));
  unlink(path.c_str());
}

}  // namespace
}  // namespace mneme::loader
