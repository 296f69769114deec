// Folders whose manifest and shards agree with each other, but not with the config's model.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "gtest/gtest.h"
#include "loader/checkpoint/checkpoint.h"
#include "loader/native/convert.h"
#include "loader/native/native_checkpoint.h"

namespace mneme::loader {
namespace {

namespace fs = std::filesystem;

std::string ReadText(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// A model, converted into one shard.
class NativeWeightsTest : public testing::Test {
 protected:
  void Convert(const std::string& golden) {
    folder_ = testing::TempDir() + "/" + golden;
    fs::remove_all(folder_);
    const absl::StatusOr<Checkpoint> source = InspectCheckpoint("tests/golden/" + golden);
    ASSERT_TRUE(source.ok()) << source.status();
    ASSERT_TRUE(ConvertCheckpoint(*source, folder_, {}, {}).ok());
    ASSERT_TRUE(InspectCheckpoint(folder_).ok());
    const auto manifest = Manifest::Parse(ReadText(folder_ + "/manifest.json"), "m");
    ASSERT_TRUE(manifest.ok()) << manifest.status();
    manifest_ = *manifest;
    ASSERT_EQ(manifest_.shards.size(), 1u);
  }

  ManifestWeight& Weight(const std::string& name) {
    const auto found = std::find_if(manifest_.weights.begin(), manifest_.weights.end(),
                                    [&](const ManifestWeight& w) { return w.name == name; });
    EXPECT_NE(found, manifest_.weights.end()) << name;
    return *found;
  }

  // Puts `to` where the shard's header has `from`; the spaces at its end make up for the length.
  void Header(const std::string& from, const std::string& to) {
    const std::string path = folder_ + "/" + manifest_.shards[0].file;
    std::string file = ReadText(path);
    const auto bytes = static_cast<size_t>(manifest_.shards[0].header_bytes) - 8;
    std::string header = file.substr(8, bytes);
    const size_t at = header.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    header.replace(at, from.size(), to);
    if (header.size() > bytes) {
      ASSERT_EQ(header.substr(bytes).find_first_not_of(' '), std::string::npos);
    }
    header.resize(bytes, ' ');
    file.replace(8, bytes, header);
    std::ofstream(path, std::ios::binary | std::ios::trunc) << file;
  }

  void ExpectRefused(const std::string& why) {
    const std::string path = folder_ + "/manifest.json";
    std::ofstream(path, std::ios::trunc) << manifest_.Print();
    // Nothing but the model speaks against them.
    EXPECT_TRUE(OpenNative(folder_).ok()) << OpenNative(folder_).status();
    const absl::Status status = InspectCheckpoint(folder_).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(), path + ": weight " + why);
  }

  std::string folder_;
  Manifest manifest_;
};

// As many elements: their norms would be computed of a matrix with as many rows.
TEST_F(NativeWeightsTest, KeysInOneColumn) {
  Convert("ultramem_v2");
  ManifestWeight& keys = Weight("memory.0.keys");
  const std::string rows = std::to_string(keys.rows);
  const std::string cols = std::to_string(keys.cols);
  const std::string all = std::to_string(keys.rows * keys.cols);
  const std::string header = "\"memory.0.keys\":{\"dtype\":\"F32\",\"shape\":[";
  Header(header + rows + "," + cols + "]", header + all + ",1]");
  keys.rows = keys.block_rows = keys.rows * keys.cols;
  keys.cols = 1;
  ExpectRefused("\"memory.0.keys\": is [" + all + ", 1], by config.yaml [" + rows + ", " + cols +
                "]");
}

TEST_F(NativeWeightsTest, AMissingWeight) {
  Convert("ultramem_v2");
  const ManifestWeight query = Weight("block.1.query");
  Header("\"block.1.query\"", "\"padding.query\"");
  std::erase(manifest_.weights, query);
  ExpectRefused("\"block.1.query\": is missing; by config.yaml it is [" +
                std::to_string(query.rows) + ", " + std::to_string(query.cols) + "]");
}

TEST_F(NativeWeightsTest, AMissingComputedWeight) {
  Convert("ultramem_v2");
  const ManifestWeight cosines = Weight("rope_cos");
  Header("\"rope_cos\"", "\"padding.cos\"");
  std::erase(manifest_.weights, cosines);
  ExpectRefused("\"rope_cos\": is missing; by config.yaml it is [" + std::to_string(cosines.rows) +
                ", " + std::to_string(cosines.cols) + "]");
}

TEST_F(NativeWeightsTest, AWeightOfABlockThatThereIsNot) {
  Convert("ultramem_v2");
  ManifestWeight more = Weight("block.1.query");
  more.same_as = more.name;
  more.tensors.clear();
  more.name = "block.77.query";
  manifest_.weights.push_back(more);
  ExpectRefused("\"block.77.query\": the model that config.yaml describes has none of this name");
}

TEST_F(NativeWeightsTest, AnExpertTooFew) {
  Convert("mixtral");
  ManifestWeight& gate = Weight("block.0.expert_gate");
  const std::string stack = std::to_string(gate.stack);
  const std::string shape =
      " x [" + std::to_string(gate.rows) + ", " + std::to_string(gate.cols) + "]";
  Header("\"" + gate.tensors.back().name + "\"", "\"padding.expert\"");
  gate.tensors.pop_back();
  --gate.stack;
  ExpectRefused("\"block.0.expert_gate\": is " + std::to_string(gate.stack) + shape +
                ", by config.json " + stack + shape);
}

}  // namespace
}  // namespace mneme::loader
