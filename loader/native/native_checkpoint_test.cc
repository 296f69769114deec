#include "loader/native/native_checkpoint.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "loader/checkpoint/checkpoint.h"
#include "loader/families/made_up_checkpoint.h"
#include "loader/native/convert.h"
#include "loader/pack/packed_weights.h"

namespace mneme::loader {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// A folder of its own, empty.
std::string Folder(const std::string& name) {
  const std::string path = testing::TempDir() + "/" + name;
  fs::remove_all(path);
  fs::create_directories(path);
  return path;
}

std::string Golden(const std::string& name) { return "tests/golden/" + name; }

// `source`, converted into a folder of that name.
std::string Convert(const std::string& source, const std::string& name,
                    int64_t shard_bytes = kMostShardBytes) {
  const std::string out = Folder(name);
  const absl::StatusOr<Checkpoint> checkpoint = InspectCheckpoint(source);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  ConvertOptions options;
  options.shard_bytes = shard_bytes;
  const auto report = ConvertCheckpoint(*checkpoint, out, options, {});
  EXPECT_TRUE(report.ok()) << report.status();
  return out;
}

std::string ReadText(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// Puts `to`, as long as it is, in the first place of `from`.
void Patch(const std::string& path, const std::string& from, const std::string& to) {
  ASSERT_EQ(from.size(), to.size());
  std::string text = ReadText(path);
  const size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

std::string Shard(const std::string& folder, int number, int count) {
  char name[64];
  std::snprintf(name, sizeof name, "/model-%05d-of-%05d.safetensors", number, count);
  return folder + name;
}

absl::Status Refusal(const std::string& folder) {
  const absl::StatusOr<Checkpoint> checkpoint = InspectCheckpoint(folder);
  EXPECT_FALSE(checkpoint.ok());
  return checkpoint.status();
}

void ExpectRefusal(const std::string& folder, absl::StatusCode code, const std::string& message) {
  const absl::Status status = Refusal(folder);
  EXPECT_EQ(status.code(), code);
  EXPECT_EQ(status.message(), message);
}

// The bytes of a weight as it is served.
std::vector<uint8_t> Bytes(const PackedWeight& weight) {
  std::vector<uint8_t> bytes;
  const auto add = [&bytes](const void* data, int64_t count) {
    const auto* from = static_cast<const uint8_t*>(data);
    bytes.insert(bytes.end(), from, from + count);
  };
  if (weight.table.data != nullptr) {
    add(weight.table.data, weight.table.rows * weight.table.row_stride_bytes);
  } else if (weight.stack.empty()) {
    add(weight.view.data, weight.view.bytes());
  }
  for (const uint8_t* matrix : weight.stack) add(matrix, weight.view.bytes());
  return bytes;
}

// Everything that `source` is served as is what its conversion is served as, without a copy.
void ExpectSameWeights(const std::string& source, const std::string& converted) {
  const Checkpoint before = InspectCheckpoint(source).value();
  const Checkpoint after = InspectCheckpoint(converted).value();
  std::vector<WeightId> ids;
  for (const auto& [id, sources] : before.weights) ids.push_back(id);
  EXPECT_EQ(after.weights.size(), ids.size());
  const PackedWeights expected = PackedWeights::Pack(before, ids, {}).value();
  const PackedWeights mapped = PackedWeights::Pack(after, ids, {}).value();
  EXPECT_EQ(mapped.owned_bytes(), 0);
  const PackedWeights copied = PackedWeights::Pack(after, ids, {.copy_mapped = true}).value();
  EXPECT_GT(copied.owned_bytes(), 0);
  const PackedWeights rounded = PackedWeights::Pack(before, ids, {.round_to_bf16 = true}).value();
  const PackedWeights again = PackedWeights::Pack(after, ids, {.round_to_bf16 = true}).value();
  for (const WeightId& id : ids) {
    EXPECT_TRUE(mapped.at(id).in_place) << WeightName(id);
    EXPECT_EQ(mapped.at(id).view.dtype, expected.at(id).view.dtype) << WeightName(id);
    EXPECT_EQ(mapped.at(id).view.rows, expected.at(id).view.rows) << WeightName(id);
    EXPECT_EQ(mapped.at(id).view.cols, expected.at(id).view.cols) << WeightName(id);
    EXPECT_EQ(Bytes(mapped.at(id)), Bytes(expected.at(id))) << WeightName(id);
    EXPECT_EQ(Bytes(copied.at(id)), Bytes(expected.at(id))) << WeightName(id);
    EXPECT_EQ(Bytes(again.at(id)), Bytes(rounded.at(id))) << WeightName(id);
  }
}

class NativeGoldenTest : public testing::TestWithParam<const char*> {};

TEST_P(NativeGoldenTest, IsServedAsItsSourceIs) {
  const std::string source = Golden(GetParam());
  ExpectSameWeights(source, Convert(source, "whole"));
}

INSTANTIATE_TEST_SUITE_P(All, NativeGoldenTest,
                         testing::Values("dense", "dense_llama", "memory_plus", "ultramem_v1_skip",
                                         "ultramem_v2", "ultramem_v2_corners", "ultramem_v2_expand",
                                         "ultramem_v2_options", "ultramem_v2_plain", "mixtral",
                                         "mixtral_llama3rope", "olmoe", "olmoe_fused", "qwen2_moe",
                                         "qwen3_moe"),
                         [](const auto& info) { return std::string(info.param); });

// A table of 2 * 128 * 128 rows of 320 bytes, 10.5 MB, over files of 4 MB.
TEST(NativeCheckpointTest, ATableInSeveralFilesIsOneRange) {
  constexpr MadeUpSize kSize{.layers = 2,
                             .dim = 256,
                             .mlp_hidden = 128,
                             .embedding_size = 1000,
                             .keys = 128,
                             .key_dim = 32,
                             .value_dim = 96,
                             .pre_value_dim = 64,
                             .max_sequence_length = 64};
  const std::string source = Folder("made_up");
  ASSERT_TRUE(WriteMadeUpCheckpoint(kSize, source).ok());
  const std::string out = Convert(source, "several", int64_t{5} << 20);
  ExpectSameWeights(source, out);
  const Manifest manifest = Manifest::Parse(ReadText(out + "/manifest.json"), "m").value();
  const auto table = std::find_if(manifest.weights.begin(), manifest.weights.end(),
                                  [](const auto& w) { return w.name == "memory.table"; });
  ASSERT_NE(table, manifest.weights.end());
  EXPECT_GE(table->tensors.size(), 3u);
  EXPECT_NE(table->tensors.front().shard, table->tensors.back().shard);
  const int64_t before = MappingEntries();
  {
    const Checkpoint checkpoint = InspectCheckpoint(out).value();
    EXPECT_EQ(MappingEntries() - before,
              static_cast<int64_t>(manifest.shards.size() + table->tensors.size()));
    const StoredTensor& tensor = *checkpoint.weights.at({Role::kMemoryTable, -1}).parts[0].tensor;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.bytes.data()) % (2 << 20), 0u);
  }
  EXPECT_EQ(MappingEntries(), before);
}

class RefusedTest : public testing::Test {
 protected:
  RefusedTest() : folder_(Convert(Golden("ultramem_v2"), "refused", int64_t{4} << 20)) {
    manifest_ = Manifest::Parse(ReadText(folder_ + "/manifest.json"), "m").value();
    shards_ = static_cast<int>(manifest_.shards.size());
  }
  std::string First() const { return Shard(folder_, 1, shards_); }

  const std::string folder_;
  Manifest manifest_;
  int shards_ = 0;
};

// No data is read when a folder is opened, but a shuffle that leads out of its table never serves.
TEST_F(RefusedTest, ADamagedShuffle) {
  const auto weight = std::find_if(
      manifest_.weights.begin(), manifest_.weights.end(),
      [](const ManifestWeight& w) { return w.dtype == StoredDType::kI32 && !w.tensors.empty(); });
  ASSERT_NE(weight, manifest_.weights.end());
  const ManifestTensor& tensor = weight->tensors[0];
  std::fstream file(Shard(folder_, static_cast<int>(tensor.shard), shards_),
                    std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(tensor.offset + 5 * 4 + 3);
  file.put('\x7f');
  file.close();
  const absl::StatusOr<Checkpoint> checkpoint = InspectCheckpoint(folder_);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto packed = PackedWeights::Pack(*checkpoint, {WeightOfName(weight->name).value()}, {});
  EXPECT_EQ(packed.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(packed.status().message()),
              testing::AllOf(StartsWith(weight->name), HasSubstr(": entry 5 is 2130"),
                             HasSubstr("`mneme inspect --verify` says where")));
}

TEST_F(RefusedTest, AMissingShard) {
  fs::remove(First());
  ExpectRefusal(folder_, absl::StatusCode::kNotFound,
                First() + ": is missing, but manifest.json lists it");
}

TEST_F(RefusedTest, AShardOfAnotherSize) {
  const auto bytes = static_cast<int64_t>(fs::file_size(First()));
  fs::resize_file(First(), static_cast<uintmax_t>(bytes - 1));
  ExpectRefusal(folder_, absl::StatusCode::kFailedPrecondition,
                First() + ": has " + std::to_string(bytes - 1) +
                    " bytes, in manifest.json it has " + std::to_string(bytes));
}

TEST_F(RefusedTest, AShardOfAnotherConversion) {
  const std::string other(32, '0');
  Patch(First(), manifest_.conversion, other);
  ExpectRefusal(folder_, absl::StatusCode::kFailedPrecondition,
                First() + ": is of conversion \"" + other + "\", manifest.json is of \"" +
                    manifest_.conversion + "\"");
}

TEST_F(RefusedTest, AShardOfANewerFormat) {
  Patch(First(), "\"format_version\":\"1\"", "\"format_version\":\"2\"");
  ExpectRefusal(folder_, absl::StatusCode::kFailedPrecondition,
                First() + ": has format version \"2\", this build reads 1");
}

// Whoever wrote the header may have put anything into it.
TEST_F(RefusedTest, WhatAHeaderSaysIsQuotedAndShort) {
  const auto with = [&](const std::string& from, const std::string& to) {
    const std::string good = ReadText(First());
    std::string text = good;
    const auto header = static_cast<size_t>(manifest_.shards[0].header_bytes) - 8;
    std::string json = text.substr(8, header);
    json.replace(json.find(from), from.size(), to);
    json.resize(header, ' ');
    text.replace(8, header, json);
    std::ofstream(First(), std::ios::binary | std::ios::trunc) << text;
    const std::string message(Refusal(folder_).message());
    std::ofstream(First(), std::ios::binary | std::ios::trunc) << good;
    EXPECT_LT(message.size(), First().size() + 400) << message;
    EXPECT_EQ(message.find('\x1b'), std::string::npos);
    return message;
  };
  const std::string escape = "\\u001b[2J" + std::string(300, 'x');
  EXPECT_THAT(with(manifest_.conversion, escape), HasSubstr(": is of conversion \"\\033[2Jxxx"));
  EXPECT_THAT(with("\"format_version\":\"1", "\"format_version\":\"" + escape),
              HasSubstr(": has format version \"\\033[2Jxxx"));
  EXPECT_THAT(with("\"format_version\":\"1", "\"format_version\":\"1x"),
              HasSubstr(": has format version \"1x\", this build reads 1"));
  EXPECT_THAT(with("\"shard\":\"1", "\"shard\":\"" + escape),
              HasSubstr(": is shard \"\\033[2Jxxx"));
}

TEST_F(RefusedTest, AShardInAnothersPlace) {
  Patch(First(), "\"shard\":\"1\"", "\"shard\":\"7\"");
  const std::string count = std::to_string(shards_);
  ExpectRefusal(
      folder_, absl::StatusCode::kFailedPrecondition,
      First() + ": is shard \"7\" of \"" + count + "\", manifest.json has it as 1 of " + count);
}

TEST_F(RefusedTest, AnotherFormat) {
  Patch(First(), "\"format\":\"mneme\"", "\"format\":\"other\"");
  ExpectRefusal(folder_, absl::StatusCode::kInvalidArgument,
                First() + ": its format is \"other\", not that of a native checkpoint's shards");
}

TEST_F(RefusedTest, TensorsThatAreNotTheManifests) {
  const std::string path =
      Shard(folder_, static_cast<int>(manifest_.weights[0].tensors[0].shard), shards_);
  const std::string name = manifest_.weights[0].name;
  std::string other = name;
  other.back() = '_';
  Patch(path, "\"" + name + "\"", "\"" + other + "\"");
  EXPECT_EQ(Refusal(folder_).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Refusal(folder_).message(),
            path + ": tensor \"" + other + "\" is not in manifest.json");
}

TEST_F(RefusedTest, AnotherDType) {
  const std::string path =
      Shard(folder_, static_cast<int>(manifest_.weights[0].tensors[0].shard), shards_);
  Patch(path, "\"dtype\":\"F32\"", "\"dtype\":\"I32\"");
  EXPECT_EQ(Refusal(folder_).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(Refusal(folder_).message()), HasSubstr(" I32 at "));
  EXPECT_THAT(std::string(Refusal(folder_).message()), HasSubstr(", but ["));
}

TEST_F(RefusedTest, AConfigThatWasEdited) {
  std::ofstream(folder_ + "/config.yaml", std::ios::app) << "# edited\n";
  const absl::Status status = Refusal(folder_);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), StartsWith(folder_ + "/config.yaml: has "));
  EXPECT_THAT(std::string(status.message()), HasSubstr("a changed config is converted anew"));
}

TEST_F(RefusedTest, ManifestsOfOtherWeights) {
  const std::string path = folder_ + "/manifest.json";
  const std::string good = ReadText(path);
  const auto refused = [&](const std::function<void(Manifest&)>& change) {
    Manifest m = manifest_;
    change(m);
    std::ofstream(path, std::ios::trunc) << m.Print();
    const absl::Status status = OpenNative(folder_).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  };
  const auto find = [](Manifest& m, const std::string& name) {
    return std::find_if(m.weights.begin(), m.weights.end(),
                        [&](const auto& w) { return w.name == name; });
  };
  EXPECT_EQ(refused([&](Manifest& m) {
              ManifestWeight tied = *find(m, "embedding");
              tied.tensors.clear();
              tied.same_as = "embedding";
              tied.name = "block.0.no_such";
              m.weights.push_back(tied);
            }),
            path + ": weight \"block.0.no_such\": no model has one of this name");
  EXPECT_EQ(refused([&](Manifest& m) {
              ManifestWeight tied = *find(m, "embedding");
              tied.tensors.clear();
              tied.same_as = "embedding";
              tied.name = "memory.7.table";
              m.weights.push_back(tied);
            }),
            path +
                ": weight \"memory.7.table\": is packed row_major, this build reads "
                "interleaved_rows; `mneme convert` of the source packs it so");
  EXPECT_EQ(refused([&](Manifest& m) {
              ManifestWeight tied = *find(m, "embedding");
              tied.tensors.clear();
              tied.same_as = "embedding";
              tied.name = "memory.7.shuffle";
              m.weights.push_back(tied);
            }),
            path + ": weight \"memory.7.shuffle\": dtype F32 is not served");
  EXPECT_EQ(refused([&](Manifest& m) {
              ManifestWeight tied = *find(m, "embedding");
              tied.tensors.clear();
              tied.same_as = "embedding";
              tied.name = "memory.7.key_mean";
              m.weights.push_back(tied);
            }),
            path + ": weight \"memory.7.keys\": is missing");
  std::ofstream(path, std::ios::trunc) << good;
  EXPECT_TRUE(OpenNative(folder_).ok());
}

TEST_F(RefusedTest, AFolderWhoseConversionHasNotEnded) {
  fs::remove(folder_ + "/manifest.json");
  const std::string shard = First().substr(folder_.size() + 1);
  ExpectRefusal(folder_, absl::StatusCode::kFailedPrecondition,
                folder_ + ": has the shard " + shard +
                    ", but no manifest.json: nothing says what its shards hold; remove the folder "
                    "and convert anew");
  const std::string rest =
      ", but no manifest.json: a conversion has not come to its end; the same `mneme convert` "
      "again ends it";
  std::ofstream(folder_ + "/convert.journal.json") << "{";
  ExpectRefusal(folder_, absl::StatusCode::kFailedPrecondition,
                folder_ + ": has convert.journal.json" + rest);
}

}  // namespace
}  // namespace mneme::loader
