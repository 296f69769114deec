// The weights of a model by what they do, not by what a checkpoint calls them. A family maps its
// tensor names to roles; graph, plan and packer use roles only.
#ifndef MNEME_LOADER_MODEL_WEIGHT_ROLE_H_
#define MNEME_LOADER_MODEL_WEIGHT_ROLE_H_

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mneme::loader {

enum class Role : uint8_t {
  // Model; layer = -1.
  kEmbedding,            // [embedding_size, dim]
  kEmbeddingNormWeight,  // [dim]
  kEmbeddingNormBias,
  kFinalNormWeight,
  kFinalNormBias,
  kHead,      // [embedding_size, dim]; of a tied model the same tensor as kEmbedding
  kHeadBias,  // [embedding_size]
  kRopeCos,   // [max_sequence_length, head_dim/2] f32, computed
  kRopeSin,
  // Block; layer = block.
  kAttentionNormWeight,  // [dim]
  kAttentionNormBias,
  kQuery,  // [heads*head_dim, dim]
  kKey,    // [kv_heads*head_dim, dim]
  kValue,
  kQueryBias,
  kKeyBias,
  kValueBias,
  kQueryNormWeight,  // [head_dim], or the whole projected width
  kQueryNormBias,
  kKeyNormWeight,
  kKeyNormBias,
  kAttentionOut,  // [dim, heads*head_dim]
  kAttentionOutBias,
  kFfnNormWeight,  // [dim]
  kFfnNormBias,
  kFfnUp,    // [hidden, dim]; beside experts these are the shared FFN's
  kFfnGate,  // [hidden, dim]; kSwiglu only
  kFfnUpBias,
  kFfnGateBias,
  kFfnDown,  // [dim, hidden]
  kFfnDownBias,
  // Memory layer; layer = memory layer index (a shared table: -1).
  kMemoryQuery,            // [query_chunks*key_dim, dim]
  kMemoryQueryNormWeight,  // [key_dim]
  kMemoryQueryNormBias,
  kMemoryKeys,            // [heads*2*key_count, key_dim*rank], as stored
  kMemoryKeyInverseNorm,  // [heads*2*key_count, rank] f32, computed: 1/rms or 1/std over key_dim
  kMemoryKeyMean,         // same shape, LayerNorm only
  kMemoryKeysNormWeight,  // [key_dim]
  kMemoryKeysNormBias,
  kMemoryRowDirection,     // tucker_core_u [heads, rank]
  kMemoryColumnDirection,  // tucker_core_v [heads, rank]
  kMemoryCores,            // [cores*heads, rank*rank] f32: the cores, one after the other
  kMemoryShuffle,          // [virtual_slots] i32
  kMemoryPreQuery,         // [pre_value_dim, dim]
  kMemoryTable,            // value table, rows interleaved: pre-values then values
  kMemoryGate,             // [value_dim, dim]; Memory+
  kMemoryOut,              // [dim, value_dim*expand_groups]
  // Mixture-of-Experts; layer = block. Of the experts: their matrices, one on another.
  kRouter,      // [experts, dim]
  kExpertGate,  // [experts*hidden, dim]
  kExpertUp,    // [experts*hidden, dim]
  kExpertDown,  // [experts*dim, hidden]
  kSharedGate,  // [1, dim]
};

// Roles that are computed from the model's description or from other weights.
bool IsComputed(Role role);

struct WeightId {
  Role role = Role::kEmbedding;
  int32_t layer = -1;

  auto operator<=>(const WeightId&) const = default;
};

// "embedding", "block.3.query", "memory.0.keys": stable names, used in plans and messages.
std::string WeightName(const WeightId& id);
// The weight of a name as WeightName gives it; nullopt for any other text.
std::optional<WeightId> WeightOfName(std::string_view name);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_MODEL_WEIGHT_ROLE_H_
