#include "engine/graph/memory_layer.h"

#include <vector>

#include "absl/strings/str_cat.h"

namespace mneme::graph {

using loader::Role;

MemoryLayer::MemoryLayer(const loader::ModelDescription& model, int32_t layer,
                         GraphBuilder* builder)
    : model_(model),
      memory_(*model.memory),
      layer_(layer),
      prefix_(absl::StrCat("memory.", layer, ".")),
      builder_(*builder) {
  const loader::WeightId id{Role::kMemoryTable, memory_.shared_table ? -1 : layer_};
  table_ = builder_.Table(id, memory_.slots, memory_.pre_value_dim, memory_.value_dim);
}

int32_t MemoryLayer::Candidates(int32_t query, int32_t* score) {
  const loader::MemoryDescription& m = memory_;
  const int64_t key_rows = m.heads * 2 * m.key_count;
  const bool normed = m.keys_norm.has_value();
  const bool tucker = m.kind != loader::MemoryKind::kMemoryPlus;
  const std::vector<int32_t> weights = {
      builder_.Matrix(Id(Role::kMemoryKeys), key_rows, m.key_dim * m.rank),
      normed ? builder_.Constant(Id(Role::kMemoryKeyInverseNorm), v1::F32, key_rows, m.rank) : -1,
      normed && m.keys_norm->kind == loader::NormKind::kLayer
          ? builder_.Constant(Id(Role::kMemoryKeyMean), v1::F32, key_rows, m.rank)
          : -1,
      normed && m.keys_norm->weight ? builder_.Vector(Id(Role::kMemoryKeysNormWeight), m.key_dim)
                                    : -1,
      normed && m.keys_norm->bias ? builder_.Vector(Id(Role::kMemoryKeysNormBias), m.key_dim) : -1,
      tucker ? builder_.Constant(Id(Role::kMemoryRowDirection), v1::F32, m.heads, m.rank) : -1,
      tucker ? builder_.Constant(Id(Role::kMemoryColumnDirection), v1::F32, m.heads, m.rank) : -1,
  };
  const int64_t candidates = m.heads * 2 * m.top_k;
  const int32_t index = builder_.NewTensor(Name("candidates"), candidates, v1::I32);
  *score = builder_.NewTensor(Name("candidate_scores"), candidates * m.rank);
  v1::Attributes::Candidates* attributes =
      builder_
          .Add(Name("candidates"), v1::PRODUCT_KEY_CANDIDATES, {query}, weights, {index, *score})
          .attributes.mutable_candidates();
  attributes->set_heads(m.heads);
  attributes->set_heads_per_group(m.heads_per_group);
  attributes->set_key_count(m.key_count);
  attributes->set_key_dim(m.key_dim);
  attributes->set_rank(m.rank);
  attributes->set_top_k(m.top_k);
  return index;
}

void MemoryLayer::Select(int32_t u) {
  const GraphBuilder::InLane lane(&builder_, v1::MEMORY);
  const loader::MemoryDescription& m = memory_;
  int32_t query = builder_.Linear(
      Name("query"), u,
      builder_.Matrix(Id(Role::kMemoryQuery), m.query_chunks * m.key_dim, model_.dim));
  query = builder_.Norm(
      Name("query_norm"), m.query_norm, query, m.key_dim,
      m.query_norm.weight ? builder_.Vector(Id(Role::kMemoryQueryNormWeight), m.key_dim) : -1,
      m.query_norm.bias ? builder_.Vector(Id(Role::kMemoryQueryNormBias), m.key_dim) : -1);
  int32_t candidate_score = -1;
  const int32_t candidates = Candidates(query, &candidate_score);

  const bool tucker = m.kind != loader::MemoryKind::kMemoryPlus;
  const int64_t selections = m.heads * m.top_k;
  const int32_t grid = builder_.NewTensor(Name("grid"), selections, v1::I32);
  const int32_t score = builder_.NewTensor(Name("score"), selections * m.cores);
  slot_ = builder_.NewTensor(Name("slot"), selections, v1::I32);
  group_ = builder_.NewTensor(Name("group"), selections, v1::I32);
  // Tucker scores weigh the values as they are; Memory+'s weights are a softmax of them.
  weight_ = tucker ? score : builder_.NewTensor(Name("weight"), selections);
  const std::vector<int32_t> weights = {
      tucker
          ? builder_.Constant(Id(Role::kMemoryCores), v1::F32, m.cores * m.heads, m.rank * m.rank)
          : -1,
      m.shuffled ? builder_.Constant(Id(Role::kMemoryShuffle), v1::I32, 1, m.virtual_slots) : -1,
  };
  v1::Attributes::Select* attributes =
      builder_
          .Add(Name("select"), v1::PRODUCT_KEY_SELECT, {candidates, candidate_score}, weights,
               {grid, score, slot_, group_, tucker ? -1 : weight_})
          .attributes.mutable_select();
  attributes->set_mode(tucker ? v1::Attributes::Select::TUCKER
                              : v1::Attributes::Select::SUM_SOFTMAX);
  attributes->set_heads(m.heads);
  attributes->set_top_k(m.top_k);
  attributes->set_rank(m.rank);
  attributes->set_cores(m.cores);
  attributes->set_key_count(m.key_count);
  attributes->set_window(m.window);
  attributes->set_offset(m.offset(layer_));
  attributes->set_slots(m.slots);
  builder_.graph().trace[Name("grid")] = grid;
  builder_.graph().trace[Name("score")] = score;

  if (m.pre_value_dim > 0) {
    pre_query_ =
        builder_.Linear(Name("pre_query"), u,
                        builder_.Matrix(Id(Role::kMemoryPreQuery), m.pre_value_dim, model_.dim));
  }
  if (m.gated) {
    gate_ = builder_.Linear(Name("gate"), u,
                            builder_.Matrix(Id(Role::kMemoryGate), m.value_dim, model_.dim));
  }
}

void MemoryLayer::Prefetch() {
  const GraphBuilder::InLane lane(&builder_, v1::MEMORY);
  v1::Attributes::Gather* attributes =
      builder_.Add(Name("prefetch"), v1::VALUE_PREFETCH, {slot_}, {table_}, {})
          .attributes.mutable_gather();
  attributes->set_selections(memory_.heads * memory_.top_k);
  attributes->set_pre_width(memory_.pre_value_dim);
  attributes->set_width(memory_.value_dim);
}

int32_t MemoryLayer::Gather() {
  const GraphBuilder::InLane lane(&builder_, v1::MEMORY);
  const loader::MemoryDescription& m = memory_;
  int32_t sum = builder_.NewTensor(Name("gather"), m.value_dim * m.expand_groups);
  v1::Attributes::Gather* attributes =
      builder_
          .Add(Name("gather"), v1::VALUE_GATHER, {slot_, group_, weight_, pre_query_, -1}, {table_},
               {sum})
          .attributes.mutable_gather();
  attributes->set_selections(m.heads * m.top_k);
  attributes->set_cores(m.cores);
  attributes->set_expand_groups(m.expand_groups);
  attributes->set_gelu_pre_score(m.gelu_pre_score);
  attributes->set_pre_width(m.pre_value_dim);
  attributes->set_width(m.value_dim);
  if (gate_ >= 0) {
    const int32_t gated = builder_.NewTensor(Name("gated"), m.value_dim);
    builder_.Add(Name("gated"), v1::ACTIVATION, {sum, gate_}, {}, {gated})
        .attributes.mutable_activation()
        ->set_kind(v1::Attributes::Activation::SWIGLU);
    sum = gated;
  }
  const int32_t out = builder_.Linear(
      Name("out"), sum,
      builder_.Matrix(Id(Role::kMemoryOut), model_.dim, m.value_dim * m.expand_groups));
  builder_.graph().trace[Name("out")] = out;
  return out;
}

}  // namespace mneme::graph
