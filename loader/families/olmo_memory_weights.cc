// The memory layers' tensors.
#include <string>

#include "absl/strings/str_cat.h"
#include "loader/families/olmo_weights.h"

namespace mneme::loader {
namespace {

// Of floating-point elements of any dtype: all bits but the sign, the highest of the last byte.
bool AllZero(const StoredTensor& tensor) {
  const size_t width = static_cast<size_t>(StoredDTypeBytes(tensor.dtype));
  for (size_t at = 0; at < tensor.bytes.size(); ++at) {
    const bool last = at % width == width - 1;
    if ((tensor.bytes[at] & (last ? 0x7f : 0xff)) != 0) return false;
  }
  return true;
}

// The value table of `prefix`, with the pre-values before it where there are any.
void AddTable(const MemoryDescription& memory, const std::string& prefix, int32_t layer,
              TensorMatcher& matcher) {
  const WeightId table{Role::kMemoryTable, layer};
  const StoredTensor* pre = nullptr;
  const std::string pre_name = prefix + "pre_values_for_look_up";
  if (memory.pre_value_dim > 0) {
    pre = matcher.Take(pre_name, {memory.slots, memory.pre_value_dim});
    matcher.Add(table, pre, memory.pre_value_dim);
  }
  const StoredTensor* values =
      matcher.Take(prefix + "values_for_look_up", {memory.slots, memory.value_dim});
  matcher.Add(table, values, memory.value_dim);
  if (pre != nullptr && values != nullptr && pre->dtype != values->dtype) {
    matcher.Refuse(pre_name,
                   absl::StrCat("is ", StoredDTypeName(pre->dtype), ", but the values are ",
                                StoredDTypeName(values->dtype), "; a row has one dtype"));
  }
}

// Tucker cores, directions and the shuffle of an UltraMem layer.
void AddTucker(const MemoryDescription& memory, const std::string& prefix, int32_t layer,
               TensorMatcher& matcher) {
  for (int64_t core = 0; core < memory.cores; ++core) {
    const StoredTensor* tensor = matcher.Take(absl::StrCat(prefix, "tucker_core.", core),
                                              {memory.heads, memory.rank, memory.rank});
    matcher.Add({Role::kMemoryCores, layer}, tensor, memory.rank * memory.rank);
  }
  const bool used = !memory.layers[static_cast<size_t>(layer)].lost;
  for (const bool row : {true, false}) {
    const std::string name = prefix + (row ? "tucker_core_u" : "tucker_core_v");
    const StoredTensor* tensor = matcher.Take(name, {1, memory.heads, 1, memory.rank});
    const Role role = row ? Role::kMemoryRowDirection : Role::kMemoryColumnDirection;
    matcher.Add({role, layer}, tensor, memory.rank);
    if (tensor != nullptr && used && AllZero(*tensor)) {
      matcher.Refuse(name, "is all zero: the checkpoint was never trained");
    }
  }
  matcher.Add({Role::kMemoryShuffle, layer},
              matcher.TakePermutation(prefix + "shuffle_index", memory.virtual_slots), 1);
}

// Product keys, their norm, and what is computed from them.
void AddKeys(const MemoryDescription& memory, const std::string& prefix, int32_t layer,
             TensorMatcher& matcher) {
  std::vector<int64_t> shape = {memory.heads, 2, memory.key_count, memory.key_dim};
  if (memory.kind != MemoryKind::kMemoryPlus) shape.push_back(memory.rank);
  const StoredTensor* keys = matcher.Take(prefix + "keys", shape);
  const int64_t cols = memory.key_dim * memory.rank;
  matcher.Add({Role::kMemoryKeys, layer}, keys, cols);
  // Memory+ stores a norm of the keys that it does not apply: it has the query norm's form.
  const NormDescription norm = memory.keys_norm.value_or(memory.query_norm);
  const StoredTensor* weight = nullptr;
  const StoredTensor* bias = nullptr;
  if (norm.weight) weight = matcher.Take(prefix + "keys_norm.weight", {memory.key_dim});
  if (norm.bias) bias = matcher.Take(prefix + "keys_norm.bias", {memory.key_dim});
  if (!memory.keys_norm.has_value()) return;
  matcher.Add({Role::kMemoryKeysNormWeight, layer}, weight, 1);
  matcher.Add({Role::kMemoryKeysNormBias, layer}, bias, 1);
  matcher.Add({Role::kMemoryKeyInverseNorm, layer}, keys, cols);
  if (norm.kind == NormKind::kLayer) matcher.Add({Role::kMemoryKeyMean, layer}, keys, cols);
}

}  // namespace

void MapOlmoMemory(const ModelDescription& model, TensorMatcher& matcher) {
  const MemoryDescription& memory = *model.memory;
  if (memory.shared_table) AddTable(memory, "transformer.full_memory_layer.", -1, matcher);
  const int32_t layers = static_cast<int32_t>(memory.layers.size());
  for (int32_t layer = 0; layer < layers && matcher.ok(); ++layer) {
    const std::string prefix = absl::StrCat("transformer.mem_blocks.", layer, ".");
    const int64_t query_rows = memory.query_chunks * memory.key_dim;
    matcher.Add({Role::kMemoryQuery, layer},
                matcher.Take(prefix + "query_proj.weight", {query_rows, model.dim}), model.dim);
    const NormDescription& norm = memory.query_norm;
    if (norm.weight) {
      matcher.Add({Role::kMemoryQueryNormWeight, layer},
                  matcher.Take(prefix + "query_norm.weight", {memory.key_dim}), 1);
    }
    if (norm.bias) {
      matcher.Add({Role::kMemoryQueryNormBias, layer},
                  matcher.Take(prefix + "query_norm.bias", {memory.key_dim}), 1);
    }
    AddKeys(memory, prefix, layer, matcher);
    if (memory.kind != MemoryKind::kMemoryPlus) AddTucker(memory, prefix, layer, matcher);
    if (memory.pre_value_dim > 0) {
      matcher.Add(
          {Role::kMemoryPreQuery, layer},
          matcher.Take(prefix + "pre_values_proj.weight", {memory.pre_value_dim, model.dim}),
          model.dim);
    }
    if (!memory.shared_table) AddTable(memory, prefix, layer, matcher);
    if (memory.gated) {
      matcher.Add({Role::kMemoryGate, layer},
                  matcher.Take(prefix + "swilu_projection.weight", {memory.value_dim, model.dim}),
                  model.dim);
    }
    const int64_t out_cols = memory.value_dim * memory.expand_groups;
    matcher.Add({Role::kMemoryOut, layer},
                matcher.Take(prefix + "values_proj.weight", {model.dim, out_cols}), out_cols);
  }
}

}  // namespace mneme::loader
