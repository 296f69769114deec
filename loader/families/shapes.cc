#include "loader/families/shapes.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "loader/families/olmo_config.h"

namespace mneme::loader {
namespace {

struct Shape {
  std::string_view name;
  int64_t layers;
  // What the config of a checkpoint of this size has beside kUltraMemV2 and the number of layers.
  std::string_view config;
  // Of another family: the description itself.
  ModelDescription (*describe)() = nullptr;
};

// What the published sizes have in common.
constexpr std::string_view kUltraMemV2 = R"(
  d_model: 2048
  n_heads: 16
  activation_type: "swiglu"
  block_type: "sequential"
  rope: true
  attention_layer_norm: true
  include_bias: false
  layer_norm_type: "rms"
  bias_for_layer_norm: false
  layer_norm_with_affine: true
  attention_layer_norm_with_affine: true
  vocab_size: 50280
  embedding_size: 50304
  weight_tying: true
  max_sequence_length: 4096
  rope_theta: 10000
  mem_kdim: 512
  mem_pre_vdim: 256
  mem_knn: 32
  mem_head: 1
  mem_type: "ultramem_v2"
  mem_insert_way: "full"
  mem_value_expand_time: 1
  mem_key_expand_time: 2
  mem_q_for_each_tucker_rank: true
  eos_token_id: 0
  pad_token_id: 1
)";

// As published: no clamp, weights of the chosen experts not normalised.
ModelDescription Olmoe() {
  ModelDescription model;
  model.family = "hf_moe";
  model.architecture = "olmoe";
  model.dim = 2048;
  model.layers = 16;
  model.vocab_size = 50304;
  model.embedding_size = 50304;
  model.max_sequence_length = 4096;
  model.attention.heads = 16;
  model.attention.kv_heads = 16;
  model.attention.head_dim = 128;
  model.attention.qk_norm = NormDescription{};
  model.attention.qk_norm_whole = true;
  model.attention.clip_after_norm = true;
  model.moe = {.experts = 64, .top_k = 8, .hidden = 1024};
  model.tied_head = false;
  model.eos_token_ids = {50279};
  model.pad_token_id = 1;
  return model;
}

constexpr Shape kShapes[] = {
    {"ultramem-1b-7b", 16, R"(  mlp_hidden_size: 11264
  mem_knum: 612
  mem_vdim: 768
  mem_share_ratio: 0.0625
)"},
    {"ultramem-2.5b-120b", 32, R"(  mlp_hidden_size: 13312
  mem_knum: 1693
  mem_vdim: 1024
  mem_share_ratio: 0.03125
)"},
    {"olmoe-1b-7b", 16, "", Olmoe},
};

// The first layers as they are: their windows and product keys depend on how many there were.
void KeepLayers(int64_t layers, ModelDescription* model) {
  model->layers = layers;
  if (!model->memory.has_value()) return;
  MemoryDescription& memory = *model->memory;
  const int64_t slots_per_layer = memory.slots / static_cast<int64_t>(memory.layers.size());
  memory.layers.resize(static_cast<size_t>(layers));
  memory.slots = std::max(memory.window, slots_per_layer * layers);
}

absl::StatusOr<ModelDescription> Describe(const Shape& shape) {
  if (shape.describe != nullptr) return shape.describe();
  absl::StatusOr<OlmoConfig> config =
      ParseOlmoConfig(absl::StrCat("model:", std::string(kUltraMemV2), std::string(shape.config),
                                   "  n_layers: ", shape.layers, "\n"),
                      std::string(shape.name));
  if (!config.ok()) return config.status();
  return config->model;
}

}  // namespace

std::vector<std::string> ShapeNames() {
  std::vector<std::string> names;
  for (const Shape& shape : kShapes) names.emplace_back(shape.name);
  return names;
}

absl::StatusOr<ModelDescription> DescribeShape(const std::string& name, int64_t layers) {
  for (const Shape& shape : kShapes) {
    if (shape.name != name) continue;
    if (layers < 0 || layers > shape.layers) {
      return absl::InvalidArgumentError(
          absl::StrCat("layers is ", layers, ", ", name, " has ", shape.layers));
    }
    absl::StatusOr<ModelDescription> model = Describe(shape);
    if (model.ok() && layers > 0) KeepLayers(layers, &*model);
    return model;
  }
  return absl::NotFoundError(absl::StrCat("there is no shape '", name, "'; there are ",
                                          absl::StrJoin(ShapeNames(), ", ")));
}

}  // namespace mneme::loader
