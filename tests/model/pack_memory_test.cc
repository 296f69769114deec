// Loading a model whose value table dominates: the peak of resident memory stays within the file,
// the packed table and a tenth.

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "engine/plan_model.h"
#include "gtest/gtest.h"
#include "loader/safetensors/safetensors.h"

namespace mneme::testing {
namespace {

using loader::StoredDType;
using loader::StoredTensor;

constexpr int64_t kKeys = 512;  // n: the table has n * n slots
constexpr int64_t kDim = 64;
constexpr int64_t kValue = 128;
constexpr int64_t kPreValue = 64;

constexpr char kConfig[] =
    "model: {d_model: 64, n_heads: 4, n_layers: 1, mlp_hidden_size: 128, rope: true,\n"
    "  attention_layer_norm: true, include_bias: false, layer_norm_type: rms,\n"
    "  bias_for_layer_norm: false, vocab_size: 256, embedding_size: 256, weight_tying: true,\n"
    "  max_sequence_length: 128, mem_type: ultramem_v2, mem_insert_way: full, mem_knum: 512,\n"
    "  mem_kdim: 16, mem_vdim: 128, mem_pre_vdim: 64, mem_knn: 8, mem_head: 1,\n"
    "  mem_share_ratio: 1.0, mem_value_expand_time: 1, mem_key_expand_time: 1,\n"
    "  mem_q_for_each_tucker_rank: true, eos_token_id: 0, pad_token_id: 1}\n";

// Owns the bytes of the tensors that go into the file.
class CheckpointWriter {
 public:
  void Bf16(const std::string& name, std::vector<int64_t> shape) {
    int64_t elements = 1;
    for (int64_t d : shape) elements *= d;
    // bf16 patterns of magnitudes about 1.
    std::vector<uint8_t>& bytes = data_[name];
    bytes.resize(static_cast<size_t>(elements) * 2);
    for (size_t i = 0; i + 1 < bytes.size(); i += 2) {
      bytes[i] = static_cast<uint8_t>(i * 37 >> 3);
      bytes[i + 1] = 0x3f;
    }
    Add(name, StoredDType::kBf16, std::move(shape));
  }
  void Permutation(const std::string& name, int64_t size) {
    std::vector<uint8_t>& bytes = data_[name];
    bytes.resize(static_cast<size_t>(size) * 8);
    auto* values = reinterpret_cast<int64_t*>(bytes.data());
    for (int64_t i = 0; i < size; ++i) values[i] = size - 1 - i;
    Add(name, StoredDType::kI64, {size});
  }
  absl::Status Write(const std::string& path) const {
    return loader::WriteSafetensors(path, tensors_, {});
  }

 private:
  void Add(const std::string& name, StoredDType dtype, std::vector<int64_t> shape) {
    StoredTensor tensor;
    tensor.name = name;
    tensor.dtype = dtype;
    tensor.shape = std::move(shape);
    tensor.bytes = data_[name];
    tensors_.push_back(std::move(tensor));
  }

  std::map<std::string, std::vector<uint8_t>> data_;
  std::vector<StoredTensor> tensors_;
};

void WriteCheckpoint(const std::string& directory) {
  std::ofstream(directory + "/config.yaml") << kConfig;
  CheckpointWriter w;
  const std::string block = "transformer.blocks.0.";
  w.Bf16("transformer.wte.weight", {256, kDim});
  w.Bf16("transformer.ln_f.weight", {kDim});
  w.Bf16(block + "q_norm.weight", {16});
  w.Bf16(block + "k_norm.weight", {16});
  w.Bf16(block + "att_proj.weight", {3 * kDim, kDim});
  w.Bf16(block + "attn_out.weight", {kDim, kDim});
  w.Bf16(block + "ff_proj.weight", {128, kDim});
  w.Bf16(block + "ff_out.weight", {kDim, 64});
  w.Bf16(block + "attn_norm.weight", {kDim});
  w.Bf16(block + "ff_norm.weight", {kDim});
  const std::string memory = "transformer.mem_blocks.0.";
  w.Bf16(memory + "keys", {1, 2, kKeys, 16, 2});
  w.Permutation(memory + "shuffle_index", kKeys * kKeys);
  w.Bf16(memory + "tucker_core_u", {1, 1, 1, 2});
  w.Bf16(memory + "tucker_core_v", {1, 1, 1, 2});
  w.Bf16(memory + "query_proj.weight", {64, kDim});
  w.Bf16(memory + "values_proj.weight", {kDim, kValue});
  w.Bf16(memory + "pre_values_proj.weight", {kPreValue, kDim});
  w.Bf16(memory + "query_norm.weight", {16});
  w.Bf16(memory + "keys_norm.weight", {16});
  w.Bf16(memory + "tucker_core.0", {1, 2, 2});
  w.Bf16(memory + "tucker_core.1", {1, 2, 2});
  const std::string table = "transformer.full_memory_layer.";
  w.Bf16(table + "values_for_look_up", {kKeys * kKeys, kValue});
  w.Bf16(table + "pre_values_for_look_up", {kKeys * kKeys, kPreValue});
  const absl::Status status = w.Write(directory + "/model.safetensors");
  ASSERT_TRUE(status.ok()) << status;
}

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
  ASSERT_NO_FATAL_FAILURE(WriteCheckpoint(directory));
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

  const int64_t table = kKeys * kKeys * (kValue + kPreValue) * 2;
  const int64_t file = planned->checkpoint.files->file_bytes();
  EXPECT_GE(weights->owned_bytes(), table);
  EXPECT_GE(peak, table);  // the measurement sees the table at all
  EXPECT_LE(peak, (file + table) * 11 / 10);
  std::printf("file %.1f MB, table %.1f MB, peak %.1f MB\n", static_cast<double>(file) / 1e6,
              static_cast<double>(table) / 1e6, static_cast<double>(peak) / 1e6);
}

}  // namespace
}  // namespace mneme::testing
