#include "loader/families/olmo_config.h"

#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "loader/families/yaml_section.h"
#include "loader/text/text.h"

namespace mneme::loader {
namespace {

// Bounds far above any model, low enough that no product of two of them overflows.
constexpr int64_t kMaxWidth = int64_t{1} << 20;
constexpr int64_t kMaxHidden = int64_t{1} << 24;
constexpr int64_t kMaxLayers = int64_t{1} << 12;
constexpr int64_t kMaxVocabulary = int64_t{1} << 26;
constexpr int64_t kMaxPositions = int64_t{1} << 24;
constexpr int64_t kMaxTokenId = std::numeric_limits<int32_t>::max();

// Settings that only training reads.
bool IsTrainingOnly(const std::string& name) {
  return absl::StrContains(name, "dropout") || absl::StartsWith(name, "init_") ||
         absl::EndsWith(name, "_reg_coef") || name == "vertical_parallel" ||
         name == "mem_parallel_size" || name == "mem_final_top_expand_time" ||
         name == "mem_log_interval" || name == "mem_tucker_rank_penalty";
}

void ReadAttention(ConfigFields& fields, ModelDescription& model) {
  AttentionDescription& attention = model.attention;
  attention.heads = fields.Int("n_heads", 12, {1, kMaxWidth});
  if (model.dim % attention.heads != 0) {
    fields.Refuse("n_heads", absl::StrCat(attention.heads, " does not divide d_model ", model.dim));
  }
  attention.head_dim = model.dim / attention.heads;
  if (attention.head_dim % 2 != 0) {
    fields.Refuse("n_heads",
                  absl::StrCat("d_model ", model.dim, " / n_heads ", attention.heads, " is ",
                               attention.head_dim, ", which is odd: rotary positions need pairs"));
  }
  attention.kv_heads = fields.OptionalInt("n_kv_heads", {1, kMaxWidth}).value_or(attention.heads);
  if (attention.heads % attention.kv_heads != 0) {
    fields.Refuse("n_kv_heads",
                  absl::StrCat(attention.kv_heads, " does not divide n_heads ", attention.heads));
  }
  const std::optional<double> clip =
      fields.OptionalPositive("clip_qkv", std::numeric_limits<float>::max());
  if (clip.has_value()) attention.clip_qkv = static_cast<float>(*clip);
  attention.rope.theta = static_cast<float>(fields.Positive("rope_theta", 10000.0, 1e30));
  if (fields.Bool("alibi", false)) fields.Refuse("alibi", "ALiBi positions are not served");
  if (!fields.Bool("rope", false)) {
    fields.Refuse("rope", "is false (or absent): learned or no positions are not served");
  }
}

void ReadFfn(ConfigFields& fields, ModelDescription& model) {
  FfnDescription& ffn = model.ffn;
  const std::string activation =
      fields.Choice("activation_type", "swiglu", {"swiglu", "gelu", "relu"});
  ffn.activation = activation == "swiglu" ? Activation::kSwiglu
                   : activation == "gelu" ? Activation::kGelu
                                          : Activation::kRelu;
  const int64_t ratio = fields.Int("mlp_ratio", 4, {1, kMaxHidden});
  const int64_t derived = ratio * model.dim;
  const int64_t hidden = fields.OptionalInt("mlp_hidden_size", {1, kMaxHidden}).value_or(derived);
  if (hidden > kMaxHidden) {
    fields.Refuse("mlp_ratio",
                  absl::StrCat(ratio, " × d_model ", model.dim, " is more than ", kMaxHidden));
  }
  if (ffn.activation == Activation::kSwiglu && hidden % 2 != 0) {
    fields.Refuse("mlp_hidden_size",
                  absl::StrCat(hidden, " is odd, but swiglu splits it into two halves"));
  }
  ffn.hidden = ffn.activation == Activation::kSwiglu ? hidden / 2 : hidden;
}

// Norms and biases. Returns attention_layer_norm_with_affine.
bool ReadNorms(ConfigFields& fields, ModelDescription& model) {
  const std::string kind =
      fields.Choice("layer_norm_type", "default", {"default", "low_precision", "rms"});
  NormDescription norm;
  norm.kind = kind == "rms" ? NormKind::kRms : NormKind::kLayer;
  norm.eps = static_cast<float>(fields.Positive("layer_norm_eps", 1e-5, 1.0));
  const bool linear_bias = fields.Bool("include_bias", true);
  const bool norm_bias = fields.OptionalBool("bias_for_layer_norm").value_or(linear_bias);
  const bool block_weight = fields.Bool("layer_norm_with_affine", true);
  const bool attention_weight = fields.Bool("attention_layer_norm_with_affine", true);

  norm.weight = block_weight;
  norm.bias = block_weight && norm_bias;
  model.block_norm = norm;
  model.final_norm = norm;
  if (fields.Bool("embedding_layer_norm", false)) model.embedding_norm = norm;
  if (fields.Bool("attention_layer_norm", false)) {
    norm.weight = attention_weight;
    norm.bias = attention_weight && norm_bias;
    model.attention.qk_norm = norm;
  }
  model.norm_after = fields.Bool("norm_after", false);
  model.attention.qkv_bias = linear_bias;
  model.attention.out_bias = linear_bias;
  model.ffn.bias = linear_bias;
  return attention_weight;
}

// A token id of the config, or -1 (with a warning) when the model cannot produce it.
int32_t ReadTokenId(const char* name, ConfigFields& fields, ModelDescription& model) {
  const bool stated = fields.has(name);
  int64_t id = 50256;
  if (stated) id = fields.OptionalInt(name, {-1, kMaxTokenId}).value_or(-1);
  if (id < 0) return -1;
  if (id >= model.vocab_size) {
    const std::string what = stated ? absl::StrCat("The config's ", name)
                                    : absl::StrCat("The config has no ", name, ", and its default");
    model.warnings.push_back(absl::StrCat(what, " ", id, " is not below vocab_size ",
                                          model.vocab_size, " and is ignored."));
    return -1;
  }
  return static_cast<int32_t>(id);
}

void ReadVocabulary(ConfigFields& fields, ModelDescription& model) {
  model.vocab_size = fields.Int("vocab_size", 50257, {1, kMaxVocabulary});
  // Absent and null mean different things here: the trainer's default is a padded table.
  const int64_t absent = fields.has("embedding_size") ? model.vocab_size : 50304;
  model.embedding_size = fields.OptionalInt("embedding_size", {1, kMaxVocabulary}).value_or(absent);
  if (model.embedding_size < model.vocab_size) {
    fields.Refuse("embedding_size", absl::StrCat(model.embedding_size, " is less than vocab_size ",
                                                 model.vocab_size));
  }
  model.tied_head = fields.Bool("weight_tying", true);
  model.head_bias = !model.tied_head && model.attention.out_bias;
  if (fields.Bool("scale_logits", false)) {
    model.logit_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(model.dim)));
  }
  const int32_t eos = ReadTokenId("eos_token_id", fields, model);
  if (eos >= 0) model.eos_token_ids.push_back(eos);
  model.pad_token_id = ReadTokenId("pad_token_id", fields, model);
}

void RefuseOthers(const std::set<std::string>& ignored, ConfigFields& fields) {
  for (const std::string& name : fields.Unread()) {
    if (IsTrainingOnly(name) && !ignored.contains(name)) fields.Ignore(name);
  }
  fields.RefuseUnread(ignored, "");
}

}  // namespace

absl::StatusOr<OlmoConfig> ParseOlmoConfig(std::string_view text, const std::string& file,
                                           const std::set<std::string>& ignored) {
  absl::StatusOr<ConfigSection> section = ReadYamlSection(text, file, "model");
  if (!section.ok()) return section.status();
  ConfigFields fields(file, "model", *std::move(section));
  OlmoConfig config;
  ModelDescription& model = config.model;
  model.family = "olmo";
  model.architecture = "dense";

  const std::string block = fields.Choice("block_type", "sequential", {"sequential", "llama"});
  config.fused_qkv = block == "sequential";
  model.dim = fields.Int("d_model", 768, {1, kMaxWidth});
  model.layers = fields.Int("n_layers", 12, {1, kMaxLayers});
  model.max_sequence_length = fields.Int("max_sequence_length", 1024, {1, kMaxPositions});
  ReadAttention(fields, model);
  ReadFfn(fields, model);
  const bool affine_norms = ReadNorms(fields, model);
  ReadVocabulary(fields, model);
  const bool memory = ReadOlmoMemory(affine_norms, fields, model);
  if (!config.fused_qkv && memory) {
    fields.Refuse("block_type", "llama blocks have no memory layers; mem_insert_way is not no_mem");
  }
  if (!config.fused_qkv && model.attention.kv_heads != model.attention.heads) {
    fields.Refuse("block_type", absl::StrCat("llama blocks have as many kv heads as heads, but "
                                             "n_kv_heads is ",
                                             model.attention.kv_heads, " and n_heads is ",
                                             model.attention.heads));
  }
  if (fields.Int("block_group_size", 1, {1, kMaxLayers}) != 1) {
    fields.Refuse("block_group_size", "block groups are not served");
  }
  RefuseOthers(ignored, fields);
  if (!fields.status().ok()) return fields.status();
  return config;
}

}  // namespace mneme::loader
