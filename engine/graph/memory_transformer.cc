#include "engine/graph/memory_transformer.h"

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/memory_layer.h"
#include "engine/graph/moe_layer.h"

namespace mneme::graph {
namespace {

using loader::ModelDescription;
using loader::NormDescription;
using loader::Role;

// Builds block after block; holds what lives between operators.
class Builder {
 public:
  Builder(const ModelDescription& model, WeightTypes types)
      : model_(model), builder_(model.architecture, std::move(types)) {}

  Graph Build() {
    int32_t x = Embed();
    for (int32_t block = 0; block < model_.layers; ++block) x = Block(block, x);
    Head(x);
    return std::move(builder_).Finish();
  }

 private:
  int32_t Norm(const std::string& name, const NormDescription& norm, int32_t x, int64_t width,
               loader::WeightId weight, loader::WeightId bias) {
    return builder_.Norm(name, norm, x, width, norm.weight ? builder_.Vector(weight, width) : -1,
                         norm.bias ? builder_.Vector(bias, width) : -1);
  }

  int32_t Bias(bool present, loader::WeightId id, int64_t size) {
    return present ? builder_.Vector(id, size) : -1;
  }

  int32_t Embed() {
    embedding_ = builder_.Matrix({Role::kEmbedding}, model_.embedding_size, model_.dim);
    int32_t x = builder_.NewTensor("embedding", model_.dim);
    builder_.Add("embedding", v1::EMBEDDING, {}, {embedding_}, {x});
    if (model_.embedding_norm) {
      x = Norm("embedding_norm", *model_.embedding_norm, x, model_.dim,
               {Role::kEmbeddingNormWeight}, {Role::kEmbeddingNormBias});
    }
    return x;
  }

  // q, k or v: projection, and the clamp where nothing comes before it.
  int32_t Project(const std::string& name, int32_t x, int32_t block, Role weight, Role bias,
                  int64_t width) {
    const int32_t y = builder_.Linear(name, x, builder_.Matrix({weight, block}, width, model_.dim),
                                      Bias(model_.attention.qkv_bias, {bias, block}, width));
    return model_.attention.clip_after_norm ? y : Clamp(name, y);
  }

  int32_t Clamp(const std::string& name, int32_t x) {
    if (!model_.attention.clip_qkv) return x;
    const int32_t clamped = builder_.Continue(name + ".clamp", x);
    builder_.Add(name + ".clamp", v1::CLAMP, {x}, {}, {clamped})
        .attributes.mutable_clamp()
        ->set_limit(*model_.attention.clip_qkv);
    return clamped;
  }

  // The norm and the rotation that queries and keys get, and the clamp where it comes between.
  int32_t Place(const std::string& name, int32_t x, int32_t block, Role weight, Role bias) {
    const loader::AttentionDescription& a = model_.attention;
    const int64_t head_dim = a.head_dim;
    if (a.qk_norm) {
      x = Norm(name + ".norm", *a.qk_norm, x, a.qk_norm_whole ? builder_.cols(x) : head_dim,
               {weight, block}, {bias, block});
      builder_.graph().operators.back().attributes.mutable_norm()->set_over_heads(a.qk_norm_whole);
    }
    if (a.clip_after_norm) x = Clamp(name, x);
    const int32_t cos =
        builder_.Constant({Role::kRopeCos}, v1::F32, model_.max_sequence_length, head_dim / 2);
    const int32_t sin =
        builder_.Constant({Role::kRopeSin}, v1::F32, model_.max_sequence_length, head_dim / 2);
    const int32_t rotated = builder_.Continue(name + ".rope", x);
    builder_.Add(name + ".rope", v1::ROPE, {x}, {cos, sin}, {rotated})
        .attributes.mutable_rope()
        ->set_head_dim(head_dim);
    return rotated;
  }

  int32_t Attention(int32_t block, int32_t x) {
    const loader::AttentionDescription& a = model_.attention;
    const std::string prefix = absl::StrCat("block.", block, ".");
    const int64_t width = a.heads * a.head_dim;
    const int64_t kv_width = a.kv_heads * a.head_dim;
    int32_t q = Project(prefix + "query", x, block, Role::kQuery, Role::kQueryBias, width);
    int32_t k = Project(prefix + "key", x, block, Role::kKey, Role::kKeyBias, kv_width);
    int32_t v = Project(prefix + "value", x, block, Role::kValue, Role::kValueBias, kv_width);
    if (a.clip_after_norm) v = Clamp(prefix + "value", v);
    q = Place(prefix + "query", q, block, Role::kQueryNormWeight, Role::kQueryNormBias);
    k = Place(prefix + "key", k, block, Role::kKeyNormWeight, Role::kKeyNormBias);

    builder_.graph().kv_layers.push_back(
        {block, static_cast<int32_t>(a.kv_heads), static_cast<int32_t>(a.head_dim)});
    builder_.Add(prefix + "kv_append", v1::KV_APPEND, {k, v}, {}, {})
        .attributes.mutable_kv_append()
        ->set_layer(block);
    const int32_t y = builder_.NewTensor(prefix + "attention", width);
    v1::Attributes::Attention* attributes =
        builder_.Add(prefix + "attention", v1::ATTENTION, {q}, {}, {y})
            .attributes.mutable_attention();
    attributes->set_layer(block);
    attributes->set_heads(a.heads);
    attributes->set_kv_heads(a.kv_heads);
    attributes->set_head_dim(a.head_dim);
    attributes->set_scale(1.0f / std::sqrt(static_cast<float>(a.head_dim)));
    if (!a.windows.empty()) attributes->set_window(static_cast<int32_t>(a.windows[block]));
    return builder_.Linear(prefix + "attention_out", y,
                           builder_.Matrix({Role::kAttentionOut, block}, model_.dim, width),
                           Bias(a.out_bias, {Role::kAttentionOutBias, block}, model_.dim));
  }

  int32_t Ffn(int32_t block, int32_t u) {
    if (!model_.HasExperts(block)) return DenseFfn(block, u, model_.ffn.hidden);
    const int32_t experts = AddMoeLayer(model_, block, u, &builder_);
    if (model_.moe->shared_hidden == 0) return experts;
    const std::string prefix = absl::StrCat("block.", block, ".");
    const int32_t shared = DenseFfn(block, u, model_.moe->shared_hidden);
    const int32_t gate = builder_.Linear(
        prefix + "shared_gate", u, builder_.Matrix({Role::kSharedGate, block}, 1, model_.dim));
    const int32_t gated = builder_.NewTensor(prefix + "shared", model_.dim);
    builder_.Add(prefix + "shared", v1::ROW_GATE, {shared, gate}, {}, {gated});
    return builder_.Add(prefix + "experts_and_shared", experts, gated);
  }

  int32_t DenseFfn(int32_t block, int32_t u, int64_t width) {
    const loader::FfnDescription& f = model_.ffn;
    const std::string prefix = absl::StrCat("block.", block, ".ffn.");
    const int32_t up =
        builder_.Linear(prefix + "up", u, builder_.Matrix({Role::kFfnUp, block}, width, model_.dim),
                        Bias(f.bias, {Role::kFfnUpBias, block}, width));
    int32_t gate = -1;
    if (f.activation == loader::Activation::kSwiglu) {
      gate = builder_.Linear(prefix + "gate", u,
                             builder_.Matrix({Role::kFfnGate, block}, width, model_.dim),
                             Bias(f.bias, {Role::kFfnGateBias, block}, width));
    }
    const int32_t hidden = builder_.NewTensor(prefix + "activation", width);
    builder_.Add(prefix + "activation", v1::ACTIVATION, {up, gate}, {}, {hidden})
        .attributes.mutable_activation()
        ->set_kind(f.activation == loader::Activation::kSwiglu ? v1::Attributes::Activation::SWIGLU
                   : f.activation == loader::Activation::kGelu ? v1::Attributes::Activation::GELU
                                                               : v1::Attributes::Activation::RELU);
    return builder_.Linear(prefix + "down", hidden,
                           builder_.Matrix({Role::kFfnDown, block}, model_.dim, width),
                           Bias(f.bias, {Role::kFfnDownBias, block}, model_.dim));
  }

  // A memory layer reads here: it becomes the pending one. Its rows are asked for before the FFN of
  // the block that adds them, so that they arrive while the FFN runs and are not evicted before.
  void Memory(int32_t block, int32_t u) {
    if (!model_.memory) return;
    const std::vector<loader::MemoryPlacement>& layers = model_.memory->layers;
    for (size_t i = 0; i < layers.size(); ++i) {
      if (layers[i].lost || layers[i].read_block != block) continue;
      pending_ = std::make_unique<MemoryLayer>(model_, static_cast<int32_t>(i), &builder_);
      pending_add_block_ = layers[i].add_block;
      pending_->Select(u);
    }
    if (pending_ != nullptr && pending_add_block_ == block) pending_->Prefetch();
  }

  int32_t Block(int32_t block, int32_t x) {
    const std::string prefix = absl::StrCat("block.", block, ".");
    const auto attention_norm = [&](int32_t t) {
      return Norm(prefix + "attention_norm", model_.block_norm, t, model_.dim,
                  {Role::kAttentionNormWeight, block}, {Role::kAttentionNormBias, block});
    };
    const auto ffn_norm = [&](int32_t t) {
      return Norm(prefix + "ffn_norm", model_.block_norm, t, model_.dim,
                  {Role::kFfnNormWeight, block}, {Role::kFfnNormBias, block});
    };
    const int32_t attention = model_.norm_after ? attention_norm(Attention(block, x))
                                                : Attention(block, attention_norm(x));
    x = builder_.Add(prefix + "attention_residual", x, attention);
    const int32_t u = model_.norm_after ? x : ffn_norm(x);
    Memory(block, u);
    const int32_t ffn = model_.norm_after ? ffn_norm(Ffn(block, u)) : Ffn(block, u);
    x = builder_.Add(prefix + "ffn_residual", x, ffn);
    if (pending_ != nullptr && pending_add_block_ == block) {
      x = builder_.Add(prefix + "memory_residual", x, pending_->Gather());
      pending_.reset();
    }
    return x;
  }

  void Head(int32_t x) {
    const int32_t rows =
        builder_.NewTensor("logit_rows", model_.dim, v1::F32, v1::Register::LOGIT_ROWS);
    builder_.Add("logit_rows", v1::SELECT_ROWS, {x}, {}, {rows});
    const int32_t normed = Norm("final_norm", model_.final_norm, rows, model_.dim,
                                {Role::kFinalNormWeight}, {Role::kFinalNormBias});
    const int32_t head = model_.tied_head
                             ? builder_.Shared({Role::kHead}, embedding_)
                             : builder_.Matrix({Role::kHead}, model_.embedding_size, model_.dim);
    builder_.graph().logits = builder_.Linear(
        "logits", normed, head, Bias(model_.head_bias, {Role::kHeadBias}, model_.embedding_size),
        model_.logit_scale);
  }

  const ModelDescription& model_;
  GraphBuilder builder_;
  int32_t embedding_ = -1;
  std::unique_ptr<MemoryLayer> pending_;
  int64_t pending_add_block_ = -1;
};

}  // namespace

Graph BuildMemoryTransformer(const ModelDescription& model, WeightTypes types) {
  return Builder(model, std::move(types)).Build();
}

}  // namespace mneme::graph
