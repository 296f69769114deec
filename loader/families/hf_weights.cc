#include "loader/families/hf_weights.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "loader/families/tensor_matcher.h"

namespace mneme::loader {
namespace {

// Maps block after block.
class Mapper {
 public:
  Mapper(const ModelDescription& model, const TensorFiles& files, const std::string& where)
      : model_(model), files_(files), matcher_(files, where) {}

  absl::StatusOr<FamilyModel> Map() {
    FamilyModel family;
    family.model = model_;
    const StoredTensor* embedding =
        matcher_.Take("model.embed_tokens.weight", {model_.embedding_size, model_.dim});
    matcher_.Add({Role::kEmbedding}, embedding, model_.dim);
    for (int64_t block = 0; block < model_.layers && matcher_.ok(); ++block) {
      Block(static_cast<int32_t>(block));
    }
    Vector({Role::kFinalNormWeight}, "model.norm.weight", model_.dim);
    family.model.tied_head = !Has("lm_head.weight") && model_.tied_head;
    if (family.model.tied_head) {
      matcher_.Add({Role::kHead}, embedding, model_.dim);
    } else {
      Matrix({Role::kHead}, "lm_head.weight", model_.embedding_size, model_.dim);
    }
    matcher_.AddComputed({Role::kRopeCos});
    matcher_.AddComputed({Role::kRopeSin});
    // Old releases stored what they could compute.
    matcher_.IgnoreEnding(".rotary_emb.inv_freq");
    if (absl::Status status = matcher_.Finish(); !status.ok()) return status;
    family.weights = std::move(matcher_.weights());
    return family;
  }

 private:
  bool Has(const std::string& name) const { return files_.tensors().contains(name); }
  // Whether some tensor's name begins so.
  bool HasAny(const std::string& prefix) const {
    const auto at = files_.tensors().lower_bound(prefix);
    return at != files_.tensors().end() && at->first.starts_with(prefix);
  }

  void Matrix(WeightId id, const std::string& name, int64_t rows, int64_t cols) {
    matcher_.Add(id, matcher_.Take(name, {rows, cols}), cols);
  }
  void Vector(WeightId id, const std::string& name, int64_t size) {
    matcher_.Add(id, matcher_.Take(name, {size}), 1);
  }

  void Projection(const std::string& name, Role weight, Role bias, bool has_bias, int64_t rows,
                  int64_t cols, int32_t block) {
    Matrix({weight, block}, name + ".weight", rows, cols);
    if (has_bias) Vector({bias, block}, name + ".bias", rows);
  }

  void Block(int32_t block) {
    const std::string prefix = absl::StrCat("model.layers.", block, ".");
    const AttentionDescription& a = model_.attention;
    const int64_t q = a.heads * a.head_dim;
    const int64_t kv = a.kv_heads * a.head_dim;
    Vector({Role::kAttentionNormWeight, block}, prefix + "input_layernorm.weight", model_.dim);
    Vector({Role::kFfnNormWeight, block}, prefix + "post_attention_layernorm.weight", model_.dim);
    const std::string attention = prefix + "self_attn.";
    Projection(attention + "q_proj", Role::kQuery, Role::kQueryBias, a.qkv_bias, q, model_.dim,
               block);
    Projection(attention + "k_proj", Role::kKey, Role::kKeyBias, a.qkv_bias, kv, model_.dim, block);
    Projection(attention + "v_proj", Role::kValue, Role::kValueBias, a.qkv_bias, kv, model_.dim,
               block);
    Projection(attention + "o_proj", Role::kAttentionOut, Role::kAttentionOutBias, a.out_bias,
               model_.dim, q, block);
    if (a.qk_norm.has_value()) {
      Vector({Role::kQueryNormWeight, block}, attention + "q_norm.weight",
             a.qk_norm_whole ? q : a.head_dim);
      Vector({Role::kKeyNormWeight, block}, attention + "k_norm.weight",
             a.qk_norm_whole ? kv : a.head_dim);
    }
    if (model_.HasExperts(block)) {
      Experts(block, prefix);
    } else {
      Ffn(block, prefix + "mlp.", model_.ffn.hidden);
    }
  }

  void Ffn(int32_t block, const std::string& prefix, int64_t hidden) {
    Matrix({Role::kFfnGate, block}, prefix + "gate_proj.weight", hidden, model_.dim);
    Matrix({Role::kFfnUp, block}, prefix + "up_proj.weight", hidden, model_.dim);
    Matrix({Role::kFfnDown, block}, prefix + "down_proj.weight", model_.dim, hidden);
  }

  void Experts(int32_t block, const std::string& prefix) {
    const MoeDescription& moe = *model_.moe;
    // Mixtral's published name of the layer, and everybody else's.
    const std::string mixtral = prefix + "block_sparse_moe.";
    const std::string mlp = prefix + "mlp.";
    // What is missing is asked for under the name that it would have beside the rest.
    const bool mixtral_names =
        HasAny(mixtral) || (!HasAny(mlp) && model_.architecture == "mixtral");
    const std::string& usual = mixtral_names ? mixtral : mlp;
    const auto found = [&](const std::string& name) {
      if (Has(mixtral + name)) return mixtral;
      return Has(mlp + name) ? mlp : usual;
    };
    Matrix({Role::kRouter, block}, found("gate.weight") + "gate.weight", moe.experts, model_.dim);
    const std::string gate_up = found("experts.gate_up_proj");
    const std::string down = found("experts.down_proj");
    if (Has(gate_up + "experts.gate_up_proj")) {
      FusedExperts(block, gate_up + "experts.");
    } else if (Has(down + "experts.down_proj")) {
      FusedExperts(block, down + "experts.");
    } else if (HasAny(mixtral + "experts.") || (mixtral_names && !HasAny(mlp + "experts."))) {
      SeparateExperts(block, mixtral + "experts.", {"w1", "w3", "w2"});
    } else {
      SeparateExperts(block, mlp + "experts.", {"gate_proj", "up_proj", "down_proj"});
    }
    if (moe.shared_hidden == 0) return;
    Ffn(block, mlp + "shared_expert.", moe.shared_hidden);
    Matrix({Role::kSharedGate, block}, mlp + "shared_expert_gate.weight", 1, model_.dim);
  }

  struct ExpertNames {
    const char* gate;
    const char* up;
    const char* down;
  };
  void SeparateExperts(int32_t block, const std::string& prefix, const ExpertNames& names) {
    const MoeDescription& moe = *model_.moe;
    for (int64_t e = 0; e < moe.experts && matcher_.ok(); ++e) {
      const auto name = [&](const char* part) {
        return absl::StrCat(prefix, e, ".", part, ".weight");
      };
      Matrix({Role::kExpertGate, block}, name(names.gate), moe.hidden, model_.dim);
      Matrix({Role::kExpertUp, block}, name(names.up), moe.hidden, model_.dim);
      Matrix({Role::kExpertDown, block}, name(names.down), model_.dim, moe.hidden);
    }
  }

  void FusedExperts(int32_t block, const std::string& prefix) {
    const MoeDescription& moe = *model_.moe;
    const StoredTensor* gate_up =
        matcher_.Take(prefix + "gate_up_proj", {moe.experts, 2 * moe.hidden, model_.dim});
    const StoredTensor* down =
        matcher_.Take(prefix + "down_proj", {moe.experts, model_.dim, moe.hidden});
    for (int64_t e = 0; e < moe.experts; ++e) {
      const int64_t first = 2 * moe.hidden * e;
      matcher_.AddRows({Role::kExpertGate, block}, gate_up, first, moe.hidden, model_.dim);
      matcher_.AddRows({Role::kExpertUp, block}, gate_up, first + moe.hidden, moe.hidden,
                       model_.dim);
      matcher_.AddRows({Role::kExpertDown, block}, down, model_.dim * e, model_.dim, moe.hidden);
    }
  }

  const ModelDescription& model_;
  const TensorFiles& files_;
  TensorMatcher matcher_;
};

}  // namespace

absl::StatusOr<FamilyModel> MapHfWeights(const ModelDescription& model, const TensorFiles& files,
                                         const std::string& where) {
  return Mapper(model, files, where).Map();
}

}  // namespace mneme::loader
