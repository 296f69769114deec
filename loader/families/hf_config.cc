#include "loader/families/hf_config.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "loader/families/config_fields.h"
#include "loader/families/eos_token_ids.h"
#include "loader/families/hf_rope.h"
#include "loader/families/json_config.h"
#include "loader/text/text.h"

namespace mneme::loader {
namespace {

// Bounds far above any model, low enough that no product of two of them overflows.
constexpr int64_t kMaxWidth = int64_t{1} << 20;
constexpr int64_t kMaxHidden = int64_t{1} << 24;
constexpr int64_t kMaxLayers = int64_t{1} << 12;
constexpr int64_t kMaxVocabulary = int64_t{1} << 26;
constexpr int64_t kMaxPositions = int64_t{1} << 24;
// What kernels/router has room for.
constexpr int64_t kMaxExperts = 1024;
constexpr int64_t kMaxTokenId = std::numeric_limits<int32_t>::max();

// What the families do not have in common: defaults of absent keys, and which keys there are.
struct Family {
  const char* name;  // as `architectures` has it
  const char* architecture;
  double eps;
  double theta;
  int64_t top_k;
  bool qwen;
};
constexpr Family kOlmoe = {"OlmoeForCausalLM", "olmoe", 1e-5, 10000, 8, false};
constexpr Family kMixtral = {"MixtralForCausalLM", "mixtral", 1e-5, 1e6, 2, false};
constexpr Family kQwen2 = {"Qwen2MoeForCausalLM", "qwen2_moe", 1e-6, 10000, 4, true};
constexpr Family kQwen3 = {"Qwen3MoeForCausalLM", "qwen3_moe", 1e-6, 10000, 8, true};

// Keys that change no arithmetic of inference, and names of files, classes and tokens.
constexpr const char* kHarmless[] = {
    "attention_dropout",
    "auto_map",
    "dtype",
    "initializer_range",
    "output_router_logits",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "tokenizer_class",
    "torch_dtype",
    "transformers_version",
    "use_cache",
    "_name_or_path",
};

// Reads one config into a description.
class Reader {
 public:
  Reader(const std::string& file, const JsonConfig& config, const std::set<std::string>& ignored)
      : file_(file), config_(config), ignored_(ignored), fields_(file, "", config.values) {}

  absl::StatusOr<ModelDescription> Read() {
    if (!FindFamily()) return fields_.status();
    if (fields_.has("quantization_config") && !fields_.is_null("quantization_config")) {
      fields_.Refuse("quantization_config", "quantised checkpoints are not served");
      return fields_.status();
    }
    model_.family = "hf_moe";
    model_.architecture = family_->architecture;
    ReadSizes();
    ReadNormsAndBiases();
    ReadExperts();
    if (!fields_.status().ok()) return fields_.status();
    ReadWindows();
    if (absl::Status status =
            ReadHfRope(file_, config_, family_->theta, ignored_, fields_, &model_);
        !status.ok()) {
      return status;
    }
    fields_.Choice("hidden_act", "silu", {"silu"});
    model_.tied_head = fields_.Bool("tie_word_embeddings", false);
    ReadTokenIds();
    RefuseOthers();
    if (!fields_.status().ok()) return fields_.status();
    return std::move(model_);
  }

 private:
  bool Is(const Family& family) const { return family_ == &family; }

  bool FindFamily() {
    const std::vector<std::string> names = fields_.TextList("architectures");
    std::vector<std::string> served;
    for (const Family* family : {&kOlmoe, &kMixtral, &kQwen2, &kQwen3}) {
      if (names.size() == 1 && names[0] == family->name) family_ = family;
      served.emplace_back(family->name);
    }
    if (family_ == nullptr) {
      const char* why = names.size() == 1 ? " is not served" : ": not one name but several";
      fields_.Refuse("architectures",
                     absl::StrCat(names.empty() ? "names no class" : QuoteFew(names) + why,
                                  "; served are: ", absl::StrJoin(served, ", ")));
      return false;
    }
    // What transformers picks the class by.
    const std::string type = fields_.Text("model_type", family_->architecture);
    if (type != family_->architecture) {
      fields_.Refuse("model_type", absl::StrCat(Quote(type), " is not that of ", family_->name,
                                                ", ", Quote(family_->architecture)));
    }
    return true;
  }

  // A size has no default that would be right for another model than one published one.
  int64_t Size(const std::string& name, int64_t most) {
    if (!fields_.has(name)) fields_.Refuse(name, "is missing");
    return fields_.Int(name, 1, {1, most});
  }

  void ReadSizes() {
    AttentionDescription& attention = model_.attention;
    model_.dim = Size("hidden_size", kMaxWidth);
    model_.layers = Size("num_hidden_layers", kMaxLayers);
    model_.vocab_size = Size("vocab_size", kMaxVocabulary);
    model_.embedding_size = model_.vocab_size;
    model_.max_sequence_length = Size("max_position_embeddings", kMaxPositions);
    attention.heads = Size("num_attention_heads", kMaxWidth);
    if (Is(kOlmoe)) {
      attention.kv_heads =
          fields_.OptionalInt("num_key_value_heads", {1, kMaxWidth}).value_or(attention.heads);
    } else {
      attention.kv_heads = Size("num_key_value_heads", kMaxWidth);
    }
    if (attention.heads % attention.kv_heads != 0) {
      fields_.Refuse("num_key_value_heads",
                     absl::StrCat(attention.kv_heads, " does not divide num_attention_heads ",
                                  attention.heads));
    }
    ReadHeadDim();
  }

  void ReadHeadDim() {
    AttentionDescription& attention = model_.attention;
    const std::optional<int64_t> stated = fields_.OptionalInt("head_dim", {1, kMaxWidth});
    const bool divides = model_.dim % attention.heads == 0;
    if (!divides && (!stated.has_value() || Is(kOlmoe))) {
      fields_.Refuse("num_attention_heads",
                     absl::StrCat(attention.heads, " does not divide hidden_size ", model_.dim));
    }
    const int64_t derived = model_.dim / attention.heads;
    if (Is(kOlmoe) && stated.value_or(derived) != derived) {
      fields_.Refuse("head_dim", absl::StrCat(*stated, " is not hidden_size / num_attention_heads ",
                                              derived, ", the only one that OLMoE has"));
    }
    attention.head_dim = stated.value_or(derived);
    if (attention.head_dim % 2 != 0) {
      fields_.Refuse(
          stated.has_value() ? "head_dim" : "num_attention_heads",
          absl::StrCat("heads of ", attention.head_dim, " are odd: rotary positions need pairs"));
    }
    if (attention.heads * attention.head_dim > kMaxHidden) {
      fields_.Refuse("head_dim", absl::StrCat(attention.heads, " heads of ", attention.head_dim,
                                              " are more than ", kMaxHidden));
    }
  }

  void ReadNormsAndBiases() {
    AttentionDescription& attention = model_.attention;
    const NormDescription norm{
        .kind = NormKind::kRms,
        .eps = static_cast<float>(fields_.Positive("rms_norm_eps", family_->eps, 1.0)),
        .weight = true,
        .bias = false};
    model_.block_norm = norm;
    model_.final_norm = norm;
    if (Is(kOlmoe) || Is(kQwen3)) {
      attention.qk_norm = norm;
      attention.qk_norm_whole = Is(kOlmoe);
      attention.qkv_bias = fields_.Bool("attention_bias", false);
      attention.out_bias = attention.qkv_bias;
    }
    if (Is(kQwen2)) attention.qkv_bias = fields_.Bool("qkv_bias", true);
    if (Is(kOlmoe)) {
      const std::optional<double> clip =
          fields_.OptionalPositive("clip_qkv", std::numeric_limits<float>::max());
      if (clip.has_value()) attention.clip_qkv = static_cast<float>(*clip);
      attention.clip_after_norm = true;
    }
  }

  int64_t ReadExpertCount() {
    const char* other = "num_local_experts";
    if (Is(kQwen2) || !fields_.has(other)) return Size("num_experts", kMaxExperts);
    const int64_t count = Size(other, kMaxExperts);
    const int64_t other_count = fields_.Int("num_experts", count, {1, kMaxExperts});
    if (other_count != count) {
      fields_.Refuse("num_experts",
                     absl::StrCat(other_count, " is not the same as num_local_experts ", count));
    }
    return count;
  }

  void ReadExperts() {
    MoeDescription moe;
    moe.experts = ReadExpertCount();
    moe.top_k = fields_.Int("num_experts_per_tok", family_->top_k, {1, kMaxExperts});
    if (moe.top_k > moe.experts) {
      fields_.Refuse("num_experts_per_tok",
                     absl::StrCat(moe.top_k, " is more than the ", moe.experts, " experts"));
    }
    moe.hidden = Size(family_->qwen ? "moe_intermediate_size" : "intermediate_size", kMaxHidden);
    moe.renormalise = Is(kMixtral) || fields_.Bool("norm_topk_prob", false);
    if (Is(kQwen2)) moe.shared_hidden = Size("shared_expert_intermediate_size", kMaxHidden);
    if (family_->qwen) ReadDenseBlocks(&moe);
    if (static_cast<int64_t>(moe.dense_blocks.size()) == model_.layers) return;
    model_.moe = std::move(moe);
  }

  void ReadDenseBlocks(MoeDescription* moe) {
    const int64_t step = fields_.Int("decoder_sparse_step", 1, {1, kMaxLayers});
    const std::vector<int64_t> listed = fields_.IntList("mlp_only_layers", {0, kMaxLayers});
    if (static_cast<int64_t>(listed.size()) > kMaxLayers) {
      fields_.Refuse("mlp_only_layers", absl::StrCat("has ", listed.size(), " entries; at most ",
                                                     kMaxLayers, " are read"));
      return;
    }
    const std::set<int64_t> dense(listed.begin(), listed.end());
    for (int64_t block = 0; block < model_.layers; ++block) {
      if (dense.contains(block) || (block + 1) % step != 0) moe->dense_blocks.push_back(block);
    }
    model_.ffn.hidden = Size("intermediate_size", kMaxHidden);
  }

  // A window that no sequence fills hides nothing, however large the file says it is.
  std::optional<int64_t> Window(int64_t least) {
    const std::optional<int64_t> window =
        fields_.OptionalInt("sliding_window", {least, std::numeric_limits<int64_t>::max()});
    if (!window.has_value()) return std::nullopt;
    return std::min(*window, model_.max_sequence_length);
  }

  void SlideAll(int64_t window) {
    model_.attention.windows.assign(static_cast<size_t>(model_.layers), window);
  }

  void ReadWindows() {
    const char* key = "sliding_window";
    if (Is(kOlmoe)) {
      using Bounds = std::numeric_limits<int64_t>;
      const std::optional<int64_t> window =
          fields_.OptionalInt(key, {Bounds::min(), Bounds::max()});
      if (window.has_value()) {
        fields_.Refuse(key, absl::StrCat(*window, ": OLMoE has no sliding window"));
      }
      return;
    }
    if (Is(kMixtral)) {
      const std::optional<int64_t> window = Window(1);
      if (window.has_value()) SlideAll(*window);
      return;
    }
    const bool used = fields_.Bool("use_sliding_window", false);
    // 0 is written where it is off.
    const std::optional<int64_t> stated = Window(used ? 1 : 0);
    const int64_t window = fields_.has(key) ? stated.value_or(0) : 4096;
    if (Is(kQwen3)) {
      fields_.Ignore("max_window_layers");
      if (used && window > 0) SlideAll(window);
      return;
    }
    ReadQwen2Windows(used, window);
  }

  void ReadQwen2Windows(bool used, int64_t window) {
    const int64_t below =
        fields_.OptionalInt("max_window_layers", {0, std::numeric_limits<int64_t>::max()})
            .value_or(28);
    const std::vector<std::string> types = fields_.TextList("layer_types");
    const bool listed = fields_.has("layer_types") && !fields_.is_null("layer_types");
    if (listed && static_cast<int64_t>(types.size()) != model_.layers) {
      fields_.Refuse("layer_types",
                     absl::StrCat("has ", types.size(), " entries for ", model_.layers, " layers"));
      return;
    }
    if (used && window == 0) fields_.Refuse("sliding_window", "is null, but use_sliding_window");
    std::vector<int64_t> windows;
    for (int64_t block = 0; block < model_.layers; ++block) {
      bool slides = used && block % 2 == 0 && block < below;
      if (listed) {
        const std::string& type = types[static_cast<size_t>(block)];
        slides = type == "sliding_attention";
        if (!slides && type != "full_attention") {
          fields_.Refuse("layer_types", absl::StrCat(Quote(type),
                                                     " is not served; served are: "
                                                     "full_attention, "
                                                     "sliding_attention"));
        }
      }
      windows.push_back(slides ? window : 0);
      if (slides && !used) {
        fields_.Refuse("layer_types", "has sliding_attention, but use_sliding_window is false");
      }
    }
    if (std::any_of(windows.begin(), windows.end(), [](int64_t w) { return w > 0; })) {
      model_.attention.windows = std::move(windows);
    }
  }

  // The id, or a warning when the model cannot produce it.
  std::optional<int32_t> TokenId(const char* name, int64_t id) {
    if (id >= 0 && id < model_.vocab_size) return static_cast<int32_t>(id);
    if (id >= 0) {
      model_.warnings.push_back(absl::StrCat("The config's ", name, " ", id,
                                             " is not below vocab_size ", model_.vocab_size,
                                             " and is ignored."));
    }
    return std::nullopt;
  }

  void ReadTokenIds() {
    for (const int64_t id : ReadEosTokenIds(-1, fields_)) {
      if (const auto eos = TokenId("eos_token_id", id)) model_.eos_token_ids.push_back(*eos);
    }
    const int64_t pad = fields_.OptionalInt("pad_token_id", {-1, kMaxTokenId}).value_or(-1);
    model_.pad_token_id = TokenId("pad_token_id", pad).value_or(-1);
  }

  void RefuseOthers() {
    for (const char* key : kHarmless) fields_.Ignore(key);
    if (fields_.has("auto_map")) {
      model_.warnings.push_back(
          absl::StrCat("The config's auto_map names code of the checkpoint's "
                       "own; what is served is the published ",
                       family_->name, "."));
    }
    for (const std::string& key : fields_.Unread()) {
      if (key.ends_with("_token_id")) fields_.Ignore(key);
    }
    for (const char* key : {"layer_types", "quantization_config"}) {
      if (fields_.is_null(key)) fields_.Ignore(key);
    }
    fields_.RefuseUnread(ignored_, "");
  }

  const std::string& file_;
  const JsonConfig& config_;
  const std::set<std::string>& ignored_;
  ConfigFields fields_;
  ModelDescription model_;
  const Family* family_ = nullptr;
};

}  // namespace

absl::StatusOr<ModelDescription> ParseHfConfig(std::string_view text, const std::string& file,
                                               const std::set<std::string>& ignored) {
  const absl::StatusOr<JsonConfig> config = ReadJsonConfig(text, file);
  if (!config.ok()) return config.status();
  return Reader(file, *config, ignored).Read();
}

}  // namespace mneme::loader
