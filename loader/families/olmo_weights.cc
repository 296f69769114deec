#include "loader/families/olmo_weights.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace mneme::loader {
namespace {

// Takes `name`.weight and, where the norm has one, `name`.bias, both [width].
void AddNorm(TensorMatcher& matcher, const NormDescription& norm, const std::string& name,
             int64_t width, WeightId weight, WeightId bias) {
  if (norm.weight) matcher.Add(weight, matcher.Take(absl::StrCat(name, ".weight"), {width}), 1);
  if (norm.bias) matcher.Add(bias, matcher.Take(absl::StrCat(name, ".bias"), {width}), 1);
}

// One slice of a fused linear: rows of the weight [., cols] and of its bias.
struct Slice {
  Role weight;
  Role bias;
  int64_t rows;
};

// Takes the linear `name` whose rows are the slices one after the other.
void AddLinear(TensorMatcher& matcher, const std::string& name, int64_t cols, bool bias,
               int32_t layer, std::initializer_list<Slice> slices) {
  int64_t rows = 0;
  for (const Slice& slice : slices) rows += slice.rows;
  const StoredTensor* weight = matcher.Take(absl::StrCat(name, ".weight"), {rows, cols});
  const StoredTensor* offset = bias ? matcher.Take(absl::StrCat(name, ".bias"), {rows}) : nullptr;
  int64_t first = 0;
  for (const Slice& slice : slices) {
    matcher.AddRows({slice.weight, layer}, weight, first, slice.rows, cols);
    matcher.AddRows({slice.bias, layer}, offset, first, slice.rows, 1);
    first += slice.rows;
  }
}

void MapBlock(const OlmoConfig& config, int32_t layer, TensorMatcher& matcher) {
  const ModelDescription& model = config.model;
  const AttentionDescription& attention = model.attention;
  const std::string block = absl::StrCat("transformer.blocks.", layer, ".");
  const int64_t q_rows = attention.heads * attention.head_dim;
  const int64_t kv_rows = attention.kv_heads * attention.head_dim;
  const Slice query{Role::kQuery, Role::kQueryBias, q_rows};
  const Slice key{Role::kKey, Role::kKeyBias, kv_rows};
  const Slice value{Role::kValue, Role::kValueBias, kv_rows};

  AddNorm(matcher, model.block_norm, block + "attn_norm", model.dim,
          {Role::kAttentionNormWeight, layer}, {Role::kAttentionNormBias, layer});
  if (config.fused_qkv) {
    AddLinear(matcher, block + "att_proj", model.dim, attention.qkv_bias, layer,
              {query, key, value});
  } else {
    AddLinear(matcher, block + "q_proj", model.dim, attention.qkv_bias, layer, {query});
    AddLinear(matcher, block + "k_proj", model.dim, attention.qkv_bias, layer, {key});
    AddLinear(matcher, block + "v_proj", model.dim, attention.qkv_bias, layer, {value});
  }
  if (attention.qk_norm.has_value()) {
    AddNorm(matcher, *attention.qk_norm, block + "q_norm", attention.head_dim,
            {Role::kQueryNormWeight, layer}, {Role::kQueryNormBias, layer});
    AddNorm(matcher, *attention.qk_norm, block + "k_norm", attention.head_dim,
            {Role::kKeyNormWeight, layer}, {Role::kKeyNormBias, layer});
  }
  AddLinear(matcher, block + "attn_out", q_rows, attention.out_bias, layer,
            {{Role::kAttentionOut, Role::kAttentionOutBias, model.dim}});

  AddNorm(matcher, model.block_norm, block + "ff_norm", model.dim, {Role::kFfnNormWeight, layer},
          {Role::kFfnNormBias, layer});
  const FfnDescription& ffn = model.ffn;
  const Slice up{Role::kFfnUp, Role::kFfnUpBias, ffn.hidden};
  const Slice gate{Role::kFfnGate, Role::kFfnGateBias, ffn.hidden};
  if (ffn.activation == Activation::kSwiglu) {
    AddLinear(matcher, block + "ff_proj", model.dim, ffn.bias, layer, {up, gate});
  } else {
    AddLinear(matcher, block + "ff_proj", model.dim, ffn.bias, layer, {up});
  }
  AddLinear(matcher, block + "ff_out", ffn.hidden, ffn.bias, layer,
            {{Role::kFfnDown, Role::kFfnDownBias, model.dim}});
}

}  // namespace

absl::StatusOr<WeightSources> MapOlmoWeights(const OlmoConfig& config, const TensorFiles& files,
                                             const std::string& where) {
  const ModelDescription& model = config.model;
  TensorMatcher matcher(files, where);
  const StoredTensor* embedding =
      matcher.Take("transformer.wte.weight", {model.embedding_size, model.dim});
  matcher.Add({Role::kEmbedding, -1}, embedding, model.dim);
  if (model.embedding_norm.has_value()) {
    AddNorm(matcher, *model.embedding_norm, "transformer.emb_norm", model.dim,
            {Role::kEmbeddingNormWeight, -1}, {Role::kEmbeddingNormBias, -1});
  }
  for (int64_t layer = 0; layer < model.layers && matcher.ok(); ++layer) {
    MapBlock(config, static_cast<int32_t>(layer), matcher);
  }
  AddNorm(matcher, model.final_norm, "transformer.ln_f", model.dim, {Role::kFinalNormWeight, -1},
          {Role::kFinalNormBias, -1});
  if (model.tied_head) {
    matcher.Add({Role::kHead, -1}, embedding, model.dim);
  } else {
    AddLinear(matcher, "transformer.ff_out", model.dim, model.head_bias, -1,
              {{Role::kHead, Role::kHeadBias, model.embedding_size}});
  }
  matcher.AddComputed({Role::kRopeCos, -1});
  matcher.AddComputed({Role::kRopeSin, -1});
  if (model.memory.has_value()) MapOlmoMemory(model, matcher);
  if (absl::Status status = matcher.Finish(); !status.ok()) return status;
  return std::move(matcher.weights());
}

}  // namespace mneme::loader
