#include "loader/model/weight_role.h"

#include "absl/strings/str_cat.h"

namespace mneme::loader {
namespace {

// Where a role stands decides its name's prefix.
enum class Place { kModel, kBlock, kMemory };

struct RoleName {
  Place place;
  const char* name;
};

RoleName NameOf(Role role) {
  switch (role) {
    case Role::kEmbedding:
      return {Place::kModel, "embedding"};
    case Role::kEmbeddingNormWeight:
      return {Place::kModel, "embedding_norm.weight"};
    case Role::kEmbeddingNormBias:
      return {Place::kModel, "embedding_norm.bias"};
    case Role::kFinalNormWeight:
      return {Place::kModel, "final_norm.weight"};
    case Role::kFinalNormBias:
      return {Place::kModel, "final_norm.bias"};
    case Role::kHead:
      return {Place::kModel, "head"};
    case Role::kHeadBias:
      return {Place::kModel, "head.bias"};
    case Role::kRopeCos:
      return {Place::kModel, "rope_cos"};
    case Role::kRopeSin:
      return {Place::kModel, "rope_sin"};
    case Role::kAttentionNormWeight:
      return {Place::kBlock, "attention_norm.weight"};
    case Role::kAttentionNormBias:
      return {Place::kBlock, "attention_norm.bias"};
    case Role::kQuery:
      return {Place::kBlock, "query"};
    case Role::kKey:
      return {Place::kBlock, "key"};
    case Role::kValue:
      return {Place::kBlock, "value"};
    case Role::kQueryBias:
      return {Place::kBlock, "query.bias"};
    case Role::kKeyBias:
      return {Place::kBlock, "key.bias"};
    case Role::kValueBias:
      return {Place::kBlock, "value.bias"};
    case Role::kQueryNormWeight:
      return {Place::kBlock, "query_norm.weight"};
    case Role::kQueryNormBias:
      return {Place::kBlock, "query_norm.bias"};
    case Role::kKeyNormWeight:
      return {Place::kBlock, "key_norm.weight"};
    case Role::kKeyNormBias:
      return {Place::kBlock, "key_norm.bias"};
    case Role::kAttentionOut:
      return {Place::kBlock, "attention_out"};
    case Role::kAttentionOutBias:
      return {Place::kBlock, "attention_out.bias"};
    case Role::kFfnNormWeight:
      return {Place::kBlock, "ffn_norm.weight"};
    case Role::kFfnNormBias:
      return {Place::kBlock, "ffn_norm.bias"};
    case Role::kFfnUp:
      return {Place::kBlock, "ffn_up"};
    case Role::kFfnGate:
      return {Place::kBlock, "ffn_gate"};
    case Role::kFfnUpBias:
      return {Place::kBlock, "ffn_up.bias"};
    case Role::kFfnGateBias:
      return {Place::kBlock, "ffn_gate.bias"};
    case Role::kFfnDown:
      return {Place::kBlock, "ffn_down"};
    case Role::kFfnDownBias:
      return {Place::kBlock, "ffn_down.bias"};
    case Role::kMemoryQuery:
      return {Place::kMemory, "query"};
    case Role::kMemoryQueryNormWeight:
      return {Place::kMemory, "query_norm.weight"};
    case Role::kMemoryQueryNormBias:
      return {Place::kMemory, "query_norm.bias"};
    case Role::kMemoryKeys:
      return {Place::kMemory, "keys"};
    case Role::kMemoryKeyInverseNorm:
      return {Place::kMemory, "key_inverse_norm"};
    case Role::kMemoryKeyMean:
      return {Place::kMemory, "key_mean"};
    case Role::kMemoryKeysNormWeight:
      return {Place::kMemory, "keys_norm.weight"};
    case Role::kMemoryKeysNormBias:
      return {Place::kMemory, "keys_norm.bias"};
    case Role::kMemoryRowDirection:
      return {Place::kMemory, "row_direction"};
    case Role::kMemoryColumnDirection:
      return {Place::kMemory, "column_direction"};
    case Role::kMemoryCores:
      return {Place::kMemory, "cores"};
    case Role::kMemoryShuffle:
      return {Place::kMemory, "shuffle"};
    case Role::kMemoryPreQuery:
      return {Place::kMemory, "pre_query"};
    case Role::kMemoryTable:
      return {Place::kMemory, "table"};
    case Role::kMemoryGate:
      return {Place::kMemory, "gate"};
    case Role::kMemoryOut:
      return {Place::kMemory, "out"};
  }
  return {Place::kModel, "?"};
}

}  // namespace

std::string WeightName(const WeightId& id) {
  const RoleName role = NameOf(id.role);
  if (role.place == Place::kModel) return role.name;
  const char* place = role.place == Place::kBlock ? "block" : "memory";
  // A table that all memory layers share belongs to none of them.
  if (id.layer < 0) return absl::StrCat(place, ".", role.name);
  return absl::StrCat(place, ".", id.layer, ".", role.name);
}

}  // namespace mneme::loader
