// What a model is, in our own terms: the result of reading a checkpoint's config, whatever its
// family. A checkpoint family (one file in loader/families) produces it; engine/graph builds from
// it; nothing else knows a family's names. Semantics of every field: docs/models.md.
#ifndef MNEME_LOADER_MODEL_MODEL_DESCRIPTION_H_
#define MNEME_LOADER_MODEL_MODEL_DESCRIPTION_H_

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mneme::loader {

enum class NormKind : uint8_t { kRms, kLayer };

// One normalisation: x/rms(x) or (x-mean)/std, then weight and bias where the model has them.
struct NormDescription {
  NormKind kind = NormKind::kRms;
  float eps = 1e-5f;
  bool weight = true;
  bool bias = false;
};

// Angles are position * frequency; cosines and sines are multiplied by `scale`.
struct RopeDescription {
  float theta = 10000.0f;
  // Of pair i, where a scaling makes them other than theta^(-2i/head_dim); else empty.
  std::vector<float> frequencies;
  float scale = 1.0f;
};

struct AttentionDescription {
  int64_t heads = 0;
  int64_t kv_heads = 0;  // query head j reads kv head j * kv_heads / heads
  int64_t head_dim = 0;
  bool qkv_bias = false;
  bool out_bias = false;
  std::optional<NormDescription> qk_norm;  // of q and k, before RoPE
  bool qk_norm_whole = false;     // over the whole projected width; else per head of width head_dim
  std::optional<float> clip_qkv;  // q, k and v clamped to [-clip, clip]
  bool clip_after_norm = false;   // else before it
  RopeDescription rope;
  // By block: how many keys a query sees, its own the last of them; 0: all there are. Empty: no
  // block has such a window.
  std::vector<int64_t> windows;
};

enum class Activation : uint8_t { kSwiglu, kGelu, kRelu };

// kSwiglu: down(up(x) * silu(gate(x))); else down(activation(up(x))). hidden is down's input width.
struct FfnDescription {
  Activation activation = Activation::kSwiglu;
  int64_t hidden = 0;
  bool bias = false;
};

// A Mixture-of-Experts in place of blocks' FFNs: the router's top_k experts of each token, each
// down(silu(gate(x)) * up(x)), weighted and summed; beside them, where there is one, an FFN that
// all tokens go through, times a sigmoid of the token's own.
struct MoeDescription {
  int64_t experts = 0;
  int64_t top_k = 0;
  int64_t hidden = 0;  // of one expert: down's input width
  // Weights are a softmax over the chosen experts' logits (Mixtral, norm_topk_prob); else over all
  // experts', of which the chosen ones' are taken.
  bool renormalise = false;
  int64_t shared_hidden = 0;               // of the FFN for all tokens; 0: none
  std::vector<int64_t> dense_blocks = {};  // that have the model's FFN instead
};

enum class MemoryKind : uint8_t { kUltraMemV2, kUltraMemV1, kMemoryPlus };

// Where one memory layer stands. It reads the FFN input of block `read_block`; its output is added
// to the output of block `add_block`. A lost layer's output never reaches the model: it is not
// computed.
struct MemoryPlacement {
  int64_t read_block = 0;
  int64_t add_block = 0;
  bool lost = false;
};

// Memory layers of one model. All have the same sizes, except for where their tables are.
struct MemoryDescription {
  MemoryKind kind = MemoryKind::kUltraMemV2;
  std::vector<MemoryPlacement> layers;  // by memory layer index; lost ones included
  int64_t heads = 1;
  int64_t top_k = 0;            // k: selections per head
  int64_t key_dim = 0;          // K
  int64_t key_count = 0;        // row keys per head, as many column keys
  int64_t rank = 1;             // r: Tucker rank (Memory+: 1)
  int64_t cores = 1;            // c: Tucker cores (Memory+: 1)
  int64_t query_chunks = 2;     // chunks of key_dim in the query: 2 per group of heads
  int64_t heads_per_group = 1;  // head h uses chunks 2*(h / heads_per_group) and the next
  NormDescription query_norm;
  std::optional<NormDescription> keys_norm;  // nullopt: keys are used as stored (Memory+)

  bool shared_table = true;   // false: every layer owns a table (V1)
  int64_t slots = 0;          // N: rows of a table
  int64_t value_dim = 0;      // V
  int64_t pre_value_dim = 0;  // P; 0: none
  bool gelu_pre_score = false;
  int64_t window = 0;       // W: a layer addresses slots (offset + [0, W)) mod N
  int64_t offset_step = 0;  // layer i's window starts at (i * offset_step) mod N
  bool shuffled = false;    // grid index -> shuffle_index -> (group, slot); else slot = grid index
  int64_t virtual_slots = 0;  // entries of the shuffle: key_count^2
  int64_t expand_groups = 1;  // X: groups concatenated in the output (1: summed)
  bool gated = false;         // Memory+: sum * silu(gate(u)) before the output projection

  int64_t offset(int64_t layer) const { return slots == 0 ? 0 : layer * offset_step % slots; }
};

struct ModelDescription {
  std::string family;  // "olmo", "hf_moe": which files of loader/families read it
  // "ultramem_v2", "ultramem_v1", "memory_plus", "dense", "olmoe", "mixtral", "qwen2_moe",
  // "qwen3_moe"
  std::string architecture;
  int64_t dim = 0;
  int64_t layers = 0;
  int64_t vocab_size = 0;      // ids that may be sampled: [0, vocab_size)
  int64_t embedding_size = 0;  // rows of the embedding and of the head, >= vocab_size
  int64_t max_sequence_length = 0;
  AttentionDescription attention;
  FfnDescription ffn;
  std::optional<MoeDescription> moe;  // then only its dense blocks have the ffn
  NormDescription block_norm;         // attention and FFN norms
  NormDescription final_norm;
  std::optional<NormDescription> embedding_norm;
  bool norm_after = false;  // x += norm(f(x)) instead of x += f(norm(x))
  bool tied_head = true;    // the head is the embedding
  bool head_bias = false;
  float logit_scale = 1.0f;
  std::optional<MemoryDescription> memory;
  std::vector<int32_t> eos_token_ids;
  int32_t pad_token_id = -1;          // -1: none
  std::vector<std::string> warnings;  // what a user should know, one sentence each

  // Whether the block has a Mixture-of-Experts; else it has the FFN.
  bool HasExperts(int64_t block) const {
    return moe.has_value() && std::find(moe->dense_blocks.begin(), moe->dense_blocks.end(),
                                        block) == moe->dense_blocks.end();
  }
};

}  // namespace mneme::loader

#endif  // MNEME_LOADER_MODEL_MODEL_DESCRIPTION_H_
