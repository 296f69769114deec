#include "loader/model/weight_role.h"

#include <charconv>
#include <iterator>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mneme::loader {
namespace {

// Where a role stands decides its name's prefix.
enum class Place { kModel, kBlock, kMemory };

struct RoleName {
  Role role;
  Place place;
  const char* name;
};

// In the order of Role, which is checked below.
constexpr RoleName kNames[] = {
    {Role::kEmbedding, Place::kModel, "embedding"},
    {Role::kEmbeddingNormWeight, Place::kModel, "embedding_norm.weight"},
    {Role::kEmbeddingNormBias, Place::kModel, "embedding_norm.bias"},
    {Role::kFinalNormWeight, Place::kModel, "final_norm.weight"},
    {Role::kFinalNormBias, Place::kModel, "final_norm.bias"},
    {Role::kHead, Place::kModel, "head"},
    {Role::kHeadBias, Place::kModel, "head.bias"},
    {Role::kRopeCos, Place::kModel, "rope_cos"},
    {Role::kRopeSin, Place::kModel, "rope_sin"},
    {Role::kAttentionNormWeight, Place::kBlock, "attention_norm.weight"},
    {Role::kAttentionNormBias, Place::kBlock, "attention_norm.bias"},
    {Role::kQuery, Place::kBlock, "query"},
    {Role::kKey, Place::kBlock, "key"},
    {Role::kValue, Place::kBlock, "value"},
    {Role::kQueryBias, Place::kBlock, "query.bias"},
    {Role::kKeyBias, Place::kBlock, "key.bias"},
    {Role::kValueBias, Place::kBlock, "value.bias"},
    {Role::kQueryNormWeight, Place::kBlock, "query_norm.weight"},
    {Role::kQueryNormBias, Place::kBlock, "query_norm.bias"},
    {Role::kKeyNormWeight, Place::kBlock, "key_norm.weight"},
    {Role::kKeyNormBias, Place::kBlock, "key_norm.bias"},
    {Role::kAttentionOut, Place::kBlock, "attention_out"},
    {Role::kAttentionOutBias, Place::kBlock, "attention_out.bias"},
    {Role::kFfnNormWeight, Place::kBlock, "ffn_norm.weight"},
    {Role::kFfnNormBias, Place::kBlock, "ffn_norm.bias"},
    {Role::kFfnUp, Place::kBlock, "ffn_up"},
    {Role::kFfnGate, Place::kBlock, "ffn_gate"},
    {Role::kFfnUpBias, Place::kBlock, "ffn_up.bias"},
    {Role::kFfnGateBias, Place::kBlock, "ffn_gate.bias"},
    {Role::kFfnDown, Place::kBlock, "ffn_down"},
    {Role::kFfnDownBias, Place::kBlock, "ffn_down.bias"},
    {Role::kMemoryQuery, Place::kMemory, "query"},
    {Role::kMemoryQueryNormWeight, Place::kMemory, "query_norm.weight"},
    {Role::kMemoryQueryNormBias, Place::kMemory, "query_norm.bias"},
    {Role::kMemoryKeys, Place::kMemory, "keys"},
    {Role::kMemoryKeyInverseNorm, Place::kMemory, "key_inverse_norm"},
    {Role::kMemoryKeyMean, Place::kMemory, "key_mean"},
    {Role::kMemoryKeysNormWeight, Place::kMemory, "keys_norm.weight"},
    {Role::kMemoryKeysNormBias, Place::kMemory, "keys_norm.bias"},
    {Role::kMemoryRowDirection, Place::kMemory, "row_direction"},
    {Role::kMemoryColumnDirection, Place::kMemory, "column_direction"},
    {Role::kMemoryCores, Place::kMemory, "cores"},
    {Role::kMemoryShuffle, Place::kMemory, "shuffle"},
    {Role::kMemoryPreQuery, Place::kMemory, "pre_query"},
    {Role::kMemoryTable, Place::kMemory, "table"},
    {Role::kMemoryGate, Place::kMemory, "gate"},
    {Role::kMemoryOut, Place::kMemory, "out"},
    {Role::kRouter, Place::kBlock, "router"},
    {Role::kExpertGate, Place::kBlock, "expert_gate"},
    {Role::kExpertUp, Place::kBlock, "expert_up"},
    {Role::kExpertDown, Place::kBlock, "expert_down"},
    {Role::kSharedGate, Place::kBlock, "shared_gate"},
};

constexpr bool InOrder() {
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (kNames[i].role != static_cast<Role>(i)) return false;
  }
  return std::size(kNames) == static_cast<size_t>(Role::kSharedGate) + 1;
}
static_assert(InOrder(), "every role has a name, in its place");

}  // namespace

bool IsComputed(Role role) {
  return role == Role::kRopeCos || role == Role::kRopeSin || role == Role::kMemoryKeyInverseNorm ||
         role == Role::kMemoryKeyMean;
}

std::string WeightName(const WeightId& id) {
  const RoleName& role = kNames[static_cast<size_t>(id.role)];
  if (role.place == Place::kModel) return role.name;
  const char* place = role.place == Place::kBlock ? "block" : "memory";
  // A table that all memory layers share belongs to none of them.
  if (id.layer < 0) return absl::StrCat(place, ".", role.name);
  return absl::StrCat(place, ".", id.layer, ".", role.name);
}

std::optional<WeightId> WeightOfName(std::string_view name) {
  // "block.3.query": a place, a layer, and what is left; without a place all of it is the role's.
  Place place = Place::kModel;
  int32_t layer = -1;
  std::string_view rest = name;
  for (const auto& [prefix, of] :
       {std::pair("block.", Place::kBlock), std::pair("memory.", Place::kMemory)}) {
    if (!name.starts_with(prefix)) continue;
    place = of;
    rest.remove_prefix(std::string_view(prefix).size());
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
    if (error != std::errc()) continue;
    rest.remove_prefix(static_cast<size_t>(end - rest.data()));
    if (!rest.empty()) rest.remove_prefix(1);  // the point
  }
  for (const RoleName& role : kNames) {
    if (role.place != place || role.name != rest) continue;
    const WeightId id{role.role, layer};
    // Whatever else reads as these numbers, "block.03.query", is no name.
    if (WeightName(id) == name) return id;
  }
  return std::nullopt;
}

}  // namespace mneme::loader
