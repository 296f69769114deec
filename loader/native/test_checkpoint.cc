#include "loader/native/test_checkpoint.h"

#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <sstream>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "loader/native/convert.h"
#include "loader/native/verify.h"
#include "loader/pack/packed_weights.h"
#include "loader/safetensors/safetensors.h"

namespace mneme::loader {
namespace {

constexpr int64_t kShuffle = 1'200'000;

// Tensors with numbers that are all different enough.
class Tensors {
 public:
  void Add(const std::string& name, StoredDType dtype, std::vector<int64_t> shape) {
    StoredTensor tensor{
        .name = name, .file = {}, .dtype = dtype, .shape = std::move(shape), .bytes = {}};
    const int64_t count = tensor.elements();
    auto& bytes = bytes_.emplace_back(static_cast<size_t>(count * StoredDTypeBytes(dtype)));
    for (int64_t i = 0; i < count; ++i) {
      const float value = static_cast<float>(random_() % 2001) / 1000.0f - 1.0f;
      const kernels::Bf16 half = kernels::ToBf16(value);
      if (dtype == StoredDType::kBf16) {
        std::memcpy(bytes.data() + 2 * i, &half, 2);
      } else {
        std::memcpy(bytes.data() + 4 * i, &value, 4);
      }
    }
    tensor.bytes = bytes;
    tensors.push_back(tensor);
  }
  // A permutation.
  void AddShuffle(const std::string& name, int64_t count) {
    std::vector<int64_t> values(static_cast<size_t>(count));
    std::iota(values.begin(), values.end(), 0);
    for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[random_() % i]);
    auto& bytes = bytes_.emplace_back(values.size() * 8);
    std::memcpy(bytes.data(), values.data(), bytes.size());
    tensors.push_back(
        {.name = name, .file = {}, .dtype = StoredDType::kI64, .shape = {count}, .bytes = bytes});
  }

  std::vector<StoredTensor> tensors;

 private:
  std::deque<std::vector<uint8_t>> bytes_;
  std::mt19937 random_{7};
};

void WriteTensors(const std::string& path) {
  constexpr StoredDType kF32 = StoredDType::kF32;
  constexpr StoredDType kBf16 = StoredDType::kBf16;
  Tensors made;
  made.Add("embedding", kBf16, {500, 16});
  made.Add("wide", kF32, {1100, 1000});
  made.Add("norm", kBf16, {16});
  made.Add("norm32", kF32, {16});
  made.Add("query", kF32, {32, 16});
  made.Add("experts.gate_up", kBf16, {3, 14, 16});
  // Of both dtypes: served as float32.
  for (int i = 0; i < 3; ++i) {
    made.Add("down." + std::to_string(i), i == 1 ? kF32 : kBf16, {16, 7});
  }
  made.Add("keys", kF32, {40, 24});
  made.Add("cores", kF32, {4, 4});
  made.Add("pre", kBf16, {150'000, 5});
  made.Add("values", kBf16, {150'000, 18});
  made.AddShuffle("shuffle", kShuffle);
  const absl::Status written = WriteSafetensors(path, made.tensors, {});
  EXPECT_TRUE(written.ok()) << written;
}

void FindWeights(Checkpoint* checkpoint) {
  const auto& tensors = checkpoint->files->tensors();
  const auto part = [&](const std::string& name, int64_t first, int64_t rows, int64_t cols) {
    return WeightSource::Part{&tensors.at(name), first, rows, cols};
  };
  auto& w = checkpoint->weights;
  w[{Role::kEmbedding, -1}].parts = {part("embedding", 0, 500, 16)};
  w[{Role::kHead, -1}] = w[{Role::kEmbedding, -1}];
  w[{Role::kRopeCos, -1}];
  w[{Role::kRopeSin, -1}];
  w[{Role::kAttentionNormWeight, 0}].parts = {part("norm", 0, 16, 1)};
  w[{Role::kFfnNormWeight, 0}].parts = {part("norm32", 0, 16, 1)};
  w[{Role::kQuery, 0}].parts = {part("query", 0, 16, 16)};
  w[{Role::kKey, 0}].parts = {part("query", 16, 8, 16)};
  w[{Role::kFfnUp, 0}].parts = {part("wide", 0, 1100, 1000)};
  for (int64_t i = 0; i < 3; ++i) {
    w[{Role::kExpertGate, 0}].parts.push_back(part("experts.gate_up", i * 14, 7, 16));
    w[{Role::kExpertUp, 0}].parts.push_back(part("experts.gate_up", i * 14 + 7, 7, 16));
    w[{Role::kExpertDown, 0}].parts.push_back(part("down." + std::to_string(i), 0, 16, 7));
  }
  for (const Role role : {Role::kMemoryKeys, Role::kMemoryKeyInverseNorm, Role::kMemoryKeyMean}) {
    w[{role, 0}].parts = {part("keys", 0, 40, 24)};
  }
  w[{Role::kMemoryCores, 0}].parts = {part("cores", 2, 2, 4), part("cores", 0, 2, 4)};
  w[{Role::kMemoryShuffle, 0}].parts = {part("shuffle", 0, kShuffle, 1)};
  w[{Role::kMemoryTable, -1}].parts = {part("pre", 0, 150'000, 5), part("values", 0, 150'000, 18)};
}

// The bytes that PackedWeights has for one native tensor.
std::string PackedBytes(const PackedWeight& packed, const ManifestWeight& weight, int64_t index) {
  const auto* data = static_cast<const uint8_t*>(packed.view.data);
  if (weight.packing == Packing::kStacked) data = packed.stack.at(static_cast<size_t>(index));
  if (weight.packing == Packing::kInterleavedRows) data = packed.table.data;
  const int64_t first =
      weight.packing == Packing::kStacked ? 0 : index * weight.block_rows * weight.row_bytes();
  return {reinterpret_cast<const char*>(data) + first,
          static_cast<size_t>(weight.tensor_bytes(index))};
}

}  // namespace

std::string FreshFolder(const std::string& name) {
  const std::string path = testing::TempDir() + "/" + name;
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path;
}

Checkpoint WriteTestCheckpoint(const std::string& directory) {
  std::ofstream(directory + "/config.yaml") << "# of no family\n";
  std::ofstream(directory + "/tokenizer.json") << "{}\n";
  WriteTensors(directory + "/model.safetensors");
  return OpenTestCheckpoint(directory);
}

Checkpoint OpenTestCheckpoint(const std::string& directory) {
  Checkpoint checkpoint;
  checkpoint.directory = directory;
  checkpoint.model.attention.head_dim = 16;
  checkpoint.model.max_sequence_length = 128;
  MemoryDescription& memory = checkpoint.model.memory.emplace();
  memory.key_dim = 12;
  memory.rank = 2;
  memory.keys_norm = NormDescription{.kind = NormKind::kLayer};
  auto files = SafetensorsFile::Open(directory + "/model.safetensors");
  EXPECT_TRUE(files.ok()) << files.status();
  if (!files.ok()) return checkpoint;
  checkpoint.files = *std::move(files);
  FindWeights(&checkpoint);
  return checkpoint;
}

std::string FileContents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void ExpectSameWeights(const Checkpoint& checkpoint, Manifest::DType dtype,
                       const std::string& native) {
  const auto manifest = ReadManifest(native);
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->dtype, dtype);
  std::vector<std::shared_ptr<const SafetensorsFile>> shards;
  for (const ManifestShard& shard : manifest->shards) {
    const auto file = SafetensorsFile::Open(native + "/" + shard.file);
    ASSERT_TRUE(file.ok()) << file.status();
    shards.push_back(*file);
  }
  std::vector<WeightId> ids;
  for (const auto& [id, source] : checkpoint.weights) ids.push_back(id);
  const auto packed = PackedWeights::Pack(checkpoint, ids, PackOptionsOf(dtype));
  ASSERT_TRUE(packed.ok()) << packed.status();
  std::map<std::string, const ManifestWeight*> by_name;
  for (const ManifestWeight& weight : manifest->weights) by_name[weight.name] = &weight;
  ASSERT_EQ(by_name.size(), ids.size());
  for (const WeightId& id : ids) {
    const ManifestWeight* weight = by_name.at(WeightName(id));
    const PackedWeight& want = packed->at(id);
    if (weight->packing == Packing::kInterleavedRows) {
      EXPECT_EQ(weight->pre_width, want.table.pre_width);
      EXPECT_EQ(weight->row_stride, want.table.row_stride_bytes);
    } else {
      EXPECT_EQ(weight->rows, want.view.rows) << WeightName(id);
      EXPECT_EQ(weight->cols, want.view.cols) << WeightName(id);
      EXPECT_EQ(std::string(StoredDTypeName(weight->dtype)).substr(0, 3),
                want.view.dtype == kernels::DType::kBf16  ? "BF1"
                : want.view.dtype == kernels::DType::kI32 ? "I32"
                                                          : "F32");
    }
    if (!weight->same_as.empty()) weight = by_name.at(weight->same_as);
    for (int64_t i = 0; i < weight->tensor_count(); ++i) {
      const ManifestTensor& tensor = weight->tensors[static_cast<size_t>(i)];
      const auto bytes =
          shards.at(static_cast<size_t>(tensor.shard - 1))->tensors().at(tensor.name).bytes;
      // Not EXPECT_EQ, which would print megabytes.
      EXPECT_TRUE(std::string(bytes.begin(), bytes.end()) == PackedBytes(want, *weight, i))
          << tensor.name;
    }
  }
}

void ExpectSameFolders(const std::string& a, const std::string& b) {
  const auto names = [](const std::string& folder) {
    std::set<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      found.insert(entry.path().filename().string());
    }
    return found;
  };
  ASSERT_EQ(names(a), names(b));
  for (const std::string& name : names(a)) {
    EXPECT_TRUE(FileContents(a + "/" + name) == FileContents(b + "/" + name)) << name;
  }
}

}  // namespace mneme::loader
