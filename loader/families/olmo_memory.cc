// Memory layers in an OLMo config: where they stand, and their sizes for each kind.
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "loader/families/olmo_config.h"
#include "loader/text/text.h"

namespace mneme::loader {
namespace {

constexpr int64_t kMaxKeys = int64_t{1} << 20;
constexpr int64_t kMaxMemoryWidth = int64_t{1} << 20;
// Slots and grid indices are 32-bit numbers in the kernels.
constexpr int64_t kMaxIndex = std::numeric_limits<int32_t>::max();

// The largest root with root * root <= n.
int64_t IntegerSquareRoot(int64_t n) {
  int64_t root = static_cast<int64_t>(std::sqrt(static_cast<double>(n)));
  while (root * root > n) --root;
  while ((root + 1) * (root + 1) <= n) ++root;
  return root;
}

// Parses "a:b/c:d/…". Every block appears at most once as a read.
std::vector<MemoryPlacement> ParseInsertWay(const std::string& text, int64_t blocks,
                                            ConfigFields& fields) {
  std::vector<MemoryPlacement> layers;
  std::vector<bool> read(static_cast<size_t>(blocks), false);
  const auto refuse = [&](const std::string& why) { fields.Refuse("mem_insert_way", why); };
  for (const absl::string_view part : absl::StrSplit(absl::string_view(text), '/')) {
    const std::vector<absl::string_view> ends = absl::StrSplit(part, ':');
    MemoryPlacement layer;
    const std::string shown = Quote(std::string_view(part.data(), part.size()));
    if (ends.size() != 2 || !absl::SimpleAtoi(ends[0], &layer.read_block) ||
        !absl::SimpleAtoi(ends[1], &layer.add_block)) {
      refuse(absl::StrCat(shown, " is not full, no_mem or a:b/c:d/…"));
      return {};
    }
    if (layer.read_block < 0 || layer.add_block >= blocks || layer.read_block >= blocks) {
      refuse(absl::StrCat(shown, " names a block outside 0 … ", blocks - 1));
      return {};
    }
    if (layer.add_block < layer.read_block) {
      refuse(absl::StrCat(shown, " adds the output before it is read"));
      return {};
    }
    if (read[static_cast<size_t>(layer.read_block)]) {
      refuse(absl::StrCat("two memory layers read at block ", layer.read_block));
      return {};
    }
    read[static_cast<size_t>(layer.read_block)] = true;
    layers.push_back(layer);
  }
  return layers;
}

// The official model keeps one pending output: a read replaces it, and what was pending is lost,
// even at the block where it would have been added.
void MarkLost(int64_t blocks, std::vector<MemoryPlacement>& layers) {
  std::vector<MemoryPlacement*> reader(static_cast<size_t>(blocks), nullptr);
  for (MemoryPlacement& layer : layers) reader[static_cast<size_t>(layer.read_block)] = &layer;
  MemoryPlacement* pending = nullptr;
  for (int64_t block = 0; block < blocks; ++block) {
    if (MemoryPlacement* next = reader[static_cast<size_t>(block)]; next != nullptr) {
      if (pending != nullptr) pending->lost = true;
      pending = next;
    }
    if (pending != nullptr && pending->add_block == block) pending = nullptr;
  }
}

// Settings of ultramem_v2 that every other kind has in its config without reading them.
void IgnoreV2Settings(ConfigFields& fields) {
  for (const char* ignored :
       {"mem_pre_vdim", "mem_share_ratio", "mem_use_glu_act", "mem_q_for_each_tucker_rank",
        "mem_value_expand_time", "mem_key_expand_time"}) {
    fields.Ignore(ignored);
  }
}

void ReadV2(ConfigFields& fields, MemoryDescription& memory) {
  const int64_t n = memory.key_count;  // mem_knum, until the window is known
  const int64_t layers = static_cast<int64_t>(memory.layers.size());
  const int64_t expand = fields.Int("mem_key_expand_time", 1, {1, 64});
  const double share = fields.Positive("mem_share_ratio", 1.0, 1.0);
  memory.kind = MemoryKind::kUltraMemV2;
  memory.value_dim = fields.Int("mem_vdim", 512, {1, kMaxMemoryWidth});
  memory.pre_value_dim = fields.Int("mem_pre_vdim", 512, {0, kMaxMemoryWidth});
  memory.expand_groups = fields.Int("mem_value_expand_time", 1, {1, 64 * 64});
  memory.gelu_pre_score = fields.Bool("mem_use_glu_act", false);
  if (!fields.Bool("mem_q_for_each_tucker_rank", false)) {
    fields.Refuse("mem_q_for_each_tucker_rank",
                  "is false (or absent), but ultramem_v2 runs only with true");
  }
  if (memory.expand_groups != 1 && memory.expand_groups != expand * expand) {
    fields.Refuse("mem_value_expand_time",
                  absl::StrCat(memory.expand_groups, " is neither 1 nor mem_key_expand_time ",
                               expand, " squared"));
  }
  memory.heads = fields.Int("mem_head", 1, {1, 4});
  memory.heads_per_group = 2;
  memory.query_chunks = 4;
  memory.rank = 2;
  memory.cores = 2;
  memory.shuffled = true;
  memory.slots = n * n * layers;
  memory.offset_step = n * n;
  if (memory.slots > kMaxIndex) {
    fields.Refuse("mem_knum", absl::StrCat(n, " squared times ", layers, " memory layers is ",
                                           memory.slots, " slots, more than ", kMaxIndex));
    return;
  }
  const int64_t side = IntegerSquareRoot(
      static_cast<int64_t>(std::floor(static_cast<double>(memory.slots) * share)));
  if (side < 1) {
    fields.Refuse("mem_share_ratio",
                  absl::StrCat(share, " of ", memory.slots, " slots leaves no window"));
    return;
  }
  memory.window = side * side;
  memory.key_count = expand * side;
}

void ReadV1(ConfigFields& fields, MemoryDescription& memory) {
  const int64_t n = memory.key_count;
  IgnoreV2Settings(fields);
  memory.kind = MemoryKind::kUltraMemV1;
  memory.value_dim = fields.Int("mem_vdim", 512, {1, kMaxMemoryWidth});
  memory.heads = fields.Int("mem_head", 1, {1, 2});
  memory.heads_per_group = memory.heads;
  memory.query_chunks = 2;
  memory.rank = 2;
  memory.cores = 2;
  memory.expand_groups = 4;
  memory.shuffled = true;
  memory.shared_table = false;
  memory.slots = n * n;
  memory.window = memory.slots;
  memory.key_count = 2 * n;
}

void ReadMemoryPlus(int64_t dim, ConfigFields& fields, MemoryDescription& memory) {
  const int64_t n = memory.key_count;
  IgnoreV2Settings(fields);
  memory.kind = MemoryKind::kMemoryPlus;
  memory.value_dim = fields.Int("mem_vdim", 512, {1, kMaxMemoryWidth});
  if (memory.value_dim != dim) {
    fields.Refuse("mem_vdim", absl::StrCat(memory.value_dim, " is not d_model ", dim,
                                           ", which memory_plus needs"));
  }
  memory.heads = fields.Int("mem_head", 1, {1, 64});
  memory.heads_per_group = 1;
  memory.query_chunks = 2 * memory.heads;
  memory.rank = 1;
  memory.cores = 1;
  memory.gated = true;
  memory.keys_norm = std::nullopt;
  memory.slots = n * n;
  memory.window = memory.slots;
}

// Checks that hold for every kind, once its sizes are known.
void CheckSizes(ConfigFields& fields, MemoryDescription& memory) {
  const int64_t keys = memory.key_count;
  if (memory.slots > kMaxIndex || keys > kMaxKeys || keys * keys > kMaxIndex) {
    fields.Refuse("mem_knum",
                  absl::StrCat(keys, " row keys per head give ", keys, " squared grid points and ",
                               memory.slots, " slots; more than ", kMaxIndex, " are not served"));
    return;
  }
  if (memory.top_k > keys) {
    fields.Refuse("mem_knn",
                  absl::StrCat(memory.top_k, " selections are more than the ", keys, " row keys"));
  }
  if (memory.value_dim % memory.cores != 0) {
    fields.Refuse("mem_vdim", absl::StrCat(memory.value_dim, " is not divisible by the ",
                                           memory.cores, " Tucker cores"));
  }
  if (memory.shuffled) memory.virtual_slots = keys * keys;
}

void WarnOfLost(ModelDescription& model) {
  const std::vector<MemoryPlacement>& layers = model.memory->layers;
  for (size_t i = 0; i < layers.size(); ++i) {
    if (!layers[i].lost) continue;
    model.warnings.push_back(absl::StrCat(
        "The output of memory layer ", i, " (mem_insert_way ", layers[i].read_block, ":",
        layers[i].add_block,
        ") is lost: a later memory layer reads before it is added, as in the official model. It is "
        "not computed."));
  }
}

}  // namespace

bool ReadOlmoMemory(bool affine_norms, ConfigFields& fields, ModelDescription& model) {
  const std::string insert_way = fields.Text("mem_insert_way", "full");
  if (insert_way == "no_mem") {
    for (const char* ignored :
         {"mem_type", "mem_knum", "mem_kdim", "mem_vdim", "mem_knn", "mem_head"}) {
      fields.Ignore(ignored);
    }
    IgnoreV2Settings(fields);
    return false;
  }
  MemoryDescription memory;
  if (insert_way == "full") {
    for (int64_t block = 0; block < model.layers; ++block) {
      memory.layers.push_back(MemoryPlacement{block, block, false});
    }
  } else {
    memory.layers = ParseInsertWay(insert_way, model.layers, fields);
    MarkLost(model.layers, memory.layers);
  }
  if (!affine_norms) {
    fields.Refuse("attention_layer_norm_with_affine",
                  "is false, but memory layers need norms with weights");
  }
  // The memory's norms are of the model's type and eps, always with weight; with bias as q_norm.
  NormDescription norm = model.block_norm;
  norm.weight = true;
  norm.bias = fields.OptionalBool("bias_for_layer_norm").value_or(model.attention.qkv_bias);
  memory.query_norm = norm;
  memory.keys_norm = norm;
  memory.key_count = fields.Int("mem_knum", 128, {1, kMaxKeys});
  memory.key_dim = fields.Int("mem_kdim", 512, {1, kMaxMemoryWidth});
  memory.top_k = fields.Int("mem_knn", 16, {1, kMaxKeys});
  const std::string kind =
      fields.Choice("mem_type", "ultramem_v2", {"ultramem_v2", "ultramem_v1", "memory_plus"});
  model.architecture = kind;
  if (kind == "ultramem_v2") {
    ReadV2(fields, memory);
  } else if (kind == "ultramem_v1") {
    ReadV1(fields, memory);
  } else {
    ReadMemoryPlus(model.dim, fields, memory);
  }
  if (fields.status().ok()) CheckSizes(fields, memory);
  model.memory = std::move(memory);
  WarnOfLost(model);
  return true;
}

}  // namespace mneme::loader
