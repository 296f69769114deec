#include "tests/model/table_checkpoint.h"

#include <fstream>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "loader/safetensors/safetensors.h"

namespace mneme::testing {
namespace {

using loader::StoredDType;
using loader::StoredTensor;

constexpr int64_t kDim = 64;
constexpr int64_t kValue = 128;
constexpr int64_t kPreValue = 64;

std::string Config(int64_t keys) {
  return absl::StrCat(
      "model: {d_model: 64, n_heads: 4, n_layers: 1, mlp_hidden_size: 128, rope: true,\n"
      "  attention_layer_norm: true, include_bias: false, layer_norm_type: rms,\n"
      "  bias_for_layer_norm: false, vocab_size: 256, embedding_size: 256, weight_tying: true,\n"
      "  max_sequence_length: 128, mem_type: ultramem_v2, mem_insert_way: full, mem_knum: ",
      keys,
      ",\n"
      "  mem_kdim: 16, mem_vdim: 128, mem_pre_vdim: 64, mem_knn: 8, mem_head: 1,\n"
      "  mem_share_ratio: 1.0, mem_value_expand_time: 1, mem_key_expand_time: 1,\n"
      "  mem_q_for_each_tucker_rank: true, eos_token_id: 0, pad_token_id: 1}\n");
}

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

}  // namespace

absl::Status WriteTableCheckpoint(const std::string& directory, int64_t keys) {
  std::ofstream(directory + "/config.yaml") << Config(keys);
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
  w.Bf16(memory + "keys", {1, 2, keys, 16, 2});
  w.Permutation(memory + "shuffle_index", keys * keys);
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
  w.Bf16(table + "values_for_look_up", {keys * keys, kValue});
  w.Bf16(table + "pre_values_for_look_up", {keys * keys, kPreValue});
  return w.Write(directory + "/model.safetensors");
}

}  // namespace mneme::testing
