#include "loader/model/model_weights.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace mneme::loader {
namespace {

// Lists the weights of one model.
class Lister {
 public:
  explicit Lister(const ModelDescription& model) : model_(model) {}

  std::map<WeightId, WeightShape> List() {
    Matrix({Role::kEmbedding}, model_.embedding_size, model_.dim);
    if (model_.embedding_norm.has_value()) {
      Norm(*model_.embedding_norm, -1, Role::kEmbeddingNormWeight, Role::kEmbeddingNormBias,
           model_.dim);
    }
    for (int64_t block = 0; block < model_.layers; ++block) Block(static_cast<int32_t>(block));
    Norm(model_.final_norm, -1, Role::kFinalNormWeight, Role::kFinalNormBias, model_.dim);
    Matrix({Role::kHead}, model_.embedding_size, model_.dim);
    if (model_.head_bias) Vector({Role::kHeadBias}, model_.embedding_size);
    const int64_t pairs = model_.attention.head_dim / 2;
    Matrix({Role::kRopeCos}, model_.max_sequence_length, pairs);
    Matrix({Role::kRopeSin}, model_.max_sequence_length, pairs);
    if (model_.memory.has_value()) Memory(*model_.memory);
    return std::move(weights_);
  }

 private:
  void Matrix(WeightId id, int64_t rows, int64_t cols) {
    weights_[id] = {.rows = rows, .cols = cols};
  }
  void Vector(WeightId id, int64_t size) { Matrix(id, size, 1); }
  void Stack(WeightId id, int64_t stack, int64_t rows, int64_t cols) {
    weights_[id] = {.rows = rows, .cols = cols, .stack = stack};
  }

  void Norm(const NormDescription& norm, int32_t layer, Role weight, Role bias, int64_t width) {
    if (norm.weight) Vector({weight, layer}, width);
    if (norm.bias) Vector({bias, layer}, width);
  }

  void Linear(bool has_bias, int32_t layer, Role weight, Role bias, int64_t rows, int64_t cols) {
    Matrix({weight, layer}, rows, cols);
    if (has_bias) Vector({bias, layer}, rows);
  }

  void Attention(int32_t block) {
    const AttentionDescription& a = model_.attention;
    const int64_t q = a.heads * a.head_dim;
    const int64_t kv = a.kv_heads * a.head_dim;
    Linear(a.qkv_bias, block, Role::kQuery, Role::kQueryBias, q, model_.dim);
    Linear(a.qkv_bias, block, Role::kKey, Role::kKeyBias, kv, model_.dim);
    Linear(a.qkv_bias, block, Role::kValue, Role::kValueBias, kv, model_.dim);
    if (a.qk_norm.has_value()) {
      Norm(*a.qk_norm, block, Role::kQueryNormWeight, Role::kQueryNormBias,
           a.qk_norm_whole ? q : a.head_dim);
      Norm(*a.qk_norm, block, Role::kKeyNormWeight, Role::kKeyNormBias,
           a.qk_norm_whole ? kv : a.head_dim);
    }
    Linear(a.out_bias, block, Role::kAttentionOut, Role::kAttentionOutBias, model_.dim, q);
  }

  void Ffn(int32_t block, int64_t hidden) {
    const FfnDescription& f = model_.ffn;
    Linear(f.bias, block, Role::kFfnUp, Role::kFfnUpBias, hidden, model_.dim);
    if (f.activation == Activation::kSwiglu) {
      Linear(f.bias, block, Role::kFfnGate, Role::kFfnGateBias, hidden, model_.dim);
    }
    Linear(f.bias, block, Role::kFfnDown, Role::kFfnDownBias, model_.dim, hidden);
  }

  void Experts(int32_t block, const MoeDescription& moe) {
    Matrix({Role::kRouter, block}, moe.experts, model_.dim);
    Stack({Role::kExpertGate, block}, moe.experts, moe.hidden, model_.dim);
    Stack({Role::kExpertUp, block}, moe.experts, moe.hidden, model_.dim);
    Stack({Role::kExpertDown, block}, moe.experts, model_.dim, moe.hidden);
    if (moe.shared_hidden == 0) return;
    Ffn(block, moe.shared_hidden);
    Matrix({Role::kSharedGate, block}, 1, model_.dim);
  }

  void Block(int32_t block) {
    Norm(model_.block_norm, block, Role::kAttentionNormWeight, Role::kAttentionNormBias,
         model_.dim);
    Attention(block);
    Norm(model_.block_norm, block, Role::kFfnNormWeight, Role::kFfnNormBias, model_.dim);
    if (model_.HasExperts(block)) {
      Experts(block, *model_.moe);
    } else {
      Ffn(block, model_.ffn.hidden);
    }
  }

  void Table(const MemoryDescription& m, int32_t layer) {
    weights_[{Role::kMemoryTable, layer}] = {
        .rows = m.slots, .cols = m.value_dim, .stack = 0, .pre_cols = m.pre_value_dim};
  }

  void Keys(const MemoryDescription& m, int32_t layer) {
    const int64_t keys = m.heads * 2 * m.key_count;
    Matrix({Role::kMemoryKeys, layer}, keys, m.key_dim * m.rank);
    if (!m.keys_norm.has_value()) return;
    Norm(*m.keys_norm, layer, Role::kMemoryKeysNormWeight, Role::kMemoryKeysNormBias, m.key_dim);
    Matrix({Role::kMemoryKeyInverseNorm, layer}, keys, m.rank);
    if (m.keys_norm->kind == NormKind::kLayer) {
      Matrix({Role::kMemoryKeyMean, layer}, keys, m.rank);
    }
  }

  void Memory(const MemoryDescription& m) {
    if (m.shared_table) Table(m, -1);
    const auto layers = static_cast<int32_t>(m.layers.size());
    for (int32_t layer = 0; layer < layers; ++layer) {
      Matrix({Role::kMemoryQuery, layer}, m.query_chunks * m.key_dim, model_.dim);
      Norm(m.query_norm, layer, Role::kMemoryQueryNormWeight, Role::kMemoryQueryNormBias,
           m.key_dim);
      Keys(m, layer);
      if (m.kind != MemoryKind::kMemoryPlus) {
        Matrix({Role::kMemoryCores, layer}, m.cores * m.heads, m.rank * m.rank);
        Matrix({Role::kMemoryRowDirection, layer}, m.heads, m.rank);
        Matrix({Role::kMemoryColumnDirection, layer}, m.heads, m.rank);
        Vector({Role::kMemoryShuffle, layer}, m.virtual_slots);
      }
      if (m.pre_value_dim > 0) Matrix({Role::kMemoryPreQuery, layer}, m.pre_value_dim, model_.dim);
      if (!m.shared_table) Table(m, layer);
      if (m.gated) Matrix({Role::kMemoryGate, layer}, m.value_dim, model_.dim);
      Matrix({Role::kMemoryOut, layer}, model_.dim, m.value_dim * m.expand_groups);
    }
  }

  const ModelDescription& model_;
  std::map<WeightId, WeightShape> weights_;
};

}  // namespace

std::string WeightShapeText(const WeightShape& shape) {
  return absl::StrCat(shape.stack > 0 ? absl::StrCat(shape.stack, " x ") : "", "[", shape.rows,
                      ", ", shape.pre_cols > 0 ? absl::StrCat(shape.pre_cols, " + ") : "",
                      shape.cols, "]");
}

std::map<WeightId, WeightShape> ModelWeights(const ModelDescription& model) {
  return Lister(model).List();
}

}  // namespace mneme::loader
