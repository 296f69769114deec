#include "loader/native/native_files.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "gtest/gtest.h"
#include "loader/checkpoint/checkpoint.h"
#include "loader/families/made_up_checkpoint.h"
#include "loader/files/mapping_registry.h"
#include "loader/native/convert.h"
#include "loader/native/native_checkpoint.h"

namespace mneme::loader {
namespace {

// `source`, converted into a folder of that name.
std::string Convert(const std::string& source, const std::string& name, int64_t shard_bytes) {
  const std::string out = testing::TempDir() + "/" + name;
  std::filesystem::remove_all(out);
  const absl::StatusOr<Checkpoint> checkpoint = InspectCheckpoint(source);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  ConvertOptions options;
  options.shard_bytes = shard_bytes;
  const auto report = ConvertCheckpoint(*checkpoint, out, options, {});
  EXPECT_TRUE(report.ok()) << report.status();
  return out;
}

// Of a table in one block, too: in the shard's own mapping a fault may read 2 MiB for one row.
TEST(NativeFilesTest, ATableHasAddressesOfItsOwn) {
  const std::string out = Convert("tests/golden/ultramem_v2", "table", kMostShardBytes);
  const Manifest manifest = OpenNative(out).value().manifest;
  ASSERT_EQ(manifest.shards.size(), 1u);
  const int64_t before = MappingEntries();
  const Checkpoint checkpoint = InspectCheckpoint(out).value();
  EXPECT_EQ(MappingEntries() - before, 2);
  const StoredTensor& table = *checkpoint.weights.at({Role::kMemoryTable, -1}).parts[0].tensor;
  const StoredTensor& matrix = *checkpoint.weights.at({Role::kEmbedding, -1}).parts[0].tensor;
  EXPECT_EQ(reinterpret_cast<uintptr_t>(table.bytes.data()) % (2 << 20), 0u);
  EXPECT_NE(table.bytes.data() - matrix.bytes.data(), table.place - matrix.place);
}

// A process may have fewer files open than a folder has shards.
TEST(NativeFilesTest, OneShardIsOpenAtATime) {
  constexpr MadeUpSize kSize{.layers = 2,
                             .dim = 256,
                             .mlp_hidden = 128,
                             .embedding_size = 1000,
                             .keys = 128,
                             .key_dim = 32,
                             .value_dim = 96,
                             .pre_value_dim = 64,
                             .max_sequence_length = 64};
  const std::string source = testing::TempDir() + "/few_source";
  std::filesystem::create_directories(source);
  ASSERT_TRUE(WriteMadeUpCheckpoint(kSize, source).ok());
  const std::string out = Convert(source, "few", int64_t{4} << 20);
  const int next = dup(0);
  ASSERT_GE(next, 0);
  close(next);
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit few = {.rlim_cur = static_cast<rlim_t>(next) + 2, .rlim_max = limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  const absl::StatusOr<Checkpoint> checkpoint = InspectCheckpoint(out);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const Manifest manifest = OpenNative(out).value().manifest;
  EXPECT_GE(manifest.shards.size(), 4u);
}

}  // namespace
}  // namespace mneme::loader
