#include "engine/plan/compile.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/signatures.h"
#include "engine/plan/arena.h"

namespace mneme::plan {
namespace {

using graph::Graph;
using graph::Operator;
using graph::Sbp;
using graph::Signature;

int64_t ElementBytes(v1::ElementType type) { return type == v1::BF16 ? 2 : 4; }

// Kernels number the selections of a step, and steps their block changes, with 32 bits.
constexpr int64_t kMaxCount = std::numeric_limits<int32_t>::max();

absl::Status CheckCounts(const Graph& graph, const v1::StepLimits& l) {
  const int64_t blocks =
      (int64_t{l.max_positions()} + l.kv_block_tokens() - 1) / l.kv_block_tokens();
  if (blocks * l.max_sequences() > kMaxCount) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_sequences ", l.max_sequences(), " of ", blocks,
                     " KV blocks each (max_positions ", l.max_positions(), ", kv_block_tokens ",
                     l.kv_block_tokens(), ") are more than ", kMaxCount));
  }
  for (const Operator& op : graph.operators) {
    if (op.kind != v1::VALUE_GATHER) continue;
    const int64_t selections = op.attributes.gather().selections();
    if (selections * l.max_tokens() > kMaxCount) {
      return absl::InvalidArgumentError(absl::StrCat("max_tokens ", l.max_tokens(), " of ",
                                                     selections, " selections each are more than ",
                                                     kMaxCount));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckLimits(const Graph& graph, const CompileOptions& options) {
  const v1::StepLimits& l = options.limits;
  const auto positive = [](const char* name, int64_t value) {
    return value >= 1 ? absl::OkStatus()
                      : absl::InvalidArgumentError(
                            absl::StrCat(name, " is ", value, ", must be at least 1"));
  };
  for (const absl::Status& status :
       {positive("max_tokens", l.max_tokens()), positive("max_sequences", l.max_sequences()),
        positive("max_logit_rows", l.max_logit_rows()),
        positive("max_positions", l.max_positions()), positive("kv_blocks", l.kv_blocks()),
        positive("kv_block_tokens", l.kv_block_tokens())}) {
    if (!status.ok()) return status;
  }
  if (l.kv_block_tokens() % 16 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("kv_block_tokens is ", l.kv_block_tokens(), ", must be a multiple of 16"));
  }
  if (l.max_tokens() < l.max_sequences()) {
    return absl::InvalidArgumentError(absl::StrCat("a step of max_tokens ", l.max_tokens(),
                                                   " cannot hold one token of each of ",
                                                   l.max_sequences(), " sequences"));
  }
  if (l.max_logit_rows() < l.max_sequences()) {
    return absl::InvalidArgumentError(absl::StrCat("max_logit_rows ", l.max_logit_rows(),
                                                   " is less than one of each of ",
                                                   l.max_sequences(), " sequences"));
  }
  if (options.cluster.ranks() != 1) {
    return absl::UnimplementedError(absl::StrCat("cluster ", options.cluster.name(), " has ",
                                                 options.cluster.ranks(),
                                                 " ranks; plans are made for one rank"));
  }
  return CheckCounts(graph, l);
}

v1::Layout LayoutOf(Sbp sbp) {
  v1::Layout layout;
  switch (sbp.kind) {
    case Sbp::Kind::kBroadcast:
      layout.set_kind(v1::Layout::BROADCAST);
      break;
    case Sbp::Kind::kSplit:
      layout.set_kind(v1::Layout::SPLIT);
      layout.set_axis(sbp.axis);
      break;
    case Sbp::Kind::kPartial:
      layout.set_kind(v1::Layout::PARTIAL);
      break;
  }
  return layout;
}

// The signature without its entries for optional operands that are absent.
Signature Present(const Operator& op, const Signature& signature) {
  Signature present;
  for (const auto& [operands, from, to] :
       {std::tuple(&op.inputs, &signature.inputs, &present.inputs),
        std::tuple(&op.weights, &signature.weights, &present.weights),
        std::tuple(&op.outputs, &signature.outputs, &present.outputs)}) {
    for (size_t i = 0; i < operands->size(); ++i) {
      if ((*operands)[i] >= 0) to->push_back((*from)[i]);
    }
  }
  return present;
}

// Turns the graph's pieces into the plan's, one after the other.
class Compiler {
 public:
  Compiler(const Graph& graph, const CompileOptions& options) : graph_(graph), options_(options) {}

  v1::Plan Run() {
    plan_.set_model(options_.model_name);
    plan_.set_architecture(graph_.architecture);
    *plan_.mutable_cluster() = options_.cluster;
    *plan_.mutable_limits() = options_.limits;
    AddWeights();
    AddKvCaches();
    AddRegisters();
    AddActors();
    AddMemory();
    return std::move(plan_);
  }

 private:
  void AddWeights() {
    for (const graph::Weight& w : graph_.weights) {
      v1::Weight* weight = plan_.add_weights();
      weight->set_name(loader::WeightName(w.id));
      weight->set_role(static_cast<int32_t>(w.id.role));
      weight->set_layer(w.id.layer);
      weight->set_type(w.type);
      weight->add_shape(w.rows);
      weight->add_shape(w.cols);
      *weight->mutable_layout() = LayoutOf(Sbp::B());
      weight->set_bytes(w.value_table ? w.rows * w.row_bytes
                                      : w.rows * w.cols * ElementBytes(w.type));
      weight->set_value_table(w.value_table);
      if (w.shared_with >= 0) {
        weight->set_shared_with(loader::WeightName(graph_.weights[w.shared_with].id));
      }
    }
  }

  void AddKvCaches() {
    const int64_t positions =
        int64_t{options_.limits.kv_blocks()} * options_.limits.kv_block_tokens();
    for (const graph::KvLayer& layer : graph_.kv_layers) {
      v1::KvCache* cache = plan_.add_kv_caches();
      cache->set_layer(layer.layer);
      cache->set_kv_heads(layer.kv_heads);
      cache->set_head_dim(layer.head_dim);
      *cache->mutable_layout() = LayoutOf(Sbp::B());
      cache->set_bytes(2 * positions * layer.kv_heads * layer.head_dim *
                       static_cast<int64_t>(sizeof(float)));
    }
  }

  int32_t Root(int32_t tensor) const {
    while (graph_.tensors[tensor].in_place_of >= 0) tensor = graph_.tensors[tensor].in_place_of;
    return tensor;
  }

  // One register per tensor that has memory of its own. The logits cross the step edge and so have
  // two slots: the schedule samples from one while the next step writes the other.
  void AddRegisters() {
    std::set<int32_t> kept;
    if (options_.keep_trace) {
      for (const auto& [name, tensor] : graph_.trace) kept.insert(Root(tensor));
    }
    const int32_t logits = Root(graph_.logits);
    const int32_t end = static_cast<int32_t>(graph_.operators.size());
    std::map<int32_t, Lifetime> lifetimes;
    for (int32_t i = 0; i < end; ++i) {
      const Operator& op = graph_.operators[i];
      for (const std::vector<int32_t>* operands : {&op.inputs, &op.outputs}) {
        for (int32_t tensor : *operands) {
          if (tensor < 0) continue;
          const auto [it, inserted] = lifetimes.try_emplace(Root(tensor), Lifetime{i, i, 0});
          it->second.last = i;
        }
      }
    }
    std::vector<Lifetime> ordered;
    for (auto& [tensor, lifetime] : lifetimes) {
      const graph::Tensor& t = graph_.tensors[tensor];
      const int64_t rows = t.rows == v1::Register::TOKENS ? options_.limits.max_tokens()
                                                          : options_.limits.max_logit_rows();
      v1::Register* reg = plan_.add_registers();
      reg->set_name(t.name);
      reg->set_type(t.type);
      reg->set_rows(t.rows);
      reg->set_cols(t.cols);
      *reg->mutable_layout() = LayoutOf(Sbp::B());
      reg->set_slots(tensor == logits ? 2 : 1);
      reg->set_slot_bytes((rows * t.cols * ElementBytes(t.type) + kArenaAlignment - 1) /
                          kArenaAlignment * kArenaAlignment);
      reg->set_kept(tensor == logits || kept.count(tensor) > 0);
      lifetime.bytes = reg->slots() * reg->slot_bytes();
      if (reg->kept()) lifetime.last = end;
      if (reg->slots() > 1) lifetime.first = 0;  // the other slot is alive all through the step
      register_of_[tensor] = plan_.registers_size() - 1;
      if (tensor == logits) plan_.set_logits_register(register_of_[tensor]);
      ordered.push_back(lifetime);
    }
    const Placement placement = PlaceInArena(ordered);
    for (int i = 0; i < plan_.registers_size(); ++i) {
      plan_.mutable_registers(i)->set_offset(placement.offsets[i]);
    }
    plan_.set_arena_bytes(placement.bytes);
  }

  void AddActors() {
    for (const Operator& op : graph_.operators) {
      v1::Actor* actor = plan_.add_actors();
      actor->set_name(op.name);
      actor->set_kind(op.kind);
      *actor->mutable_attributes() = op.attributes;
      for (int32_t input : op.inputs) actor->add_inputs(RegisterOf(input));
      for (int32_t output : op.outputs) actor->add_outputs(RegisterOf(output));
      for (int32_t weight : op.weights) actor->add_weights(weight);
      actor->set_lane(op.lane);
      // On one rank every layout is the whole tensor: the all-broadcast signature, declared first.
      actor->set_signature(
          graph::SignatureName(Present(op, graph::Signatures(graph_, op).front())));
    }
  }

  int32_t RegisterOf(int32_t tensor) const {
    return tensor < 0 ? -1 : register_of_.at(Root(tensor));
  }

  void AddMemory() {
    v1::RankMemory* memory = plan_.add_memory();
    for (const v1::Weight& w : plan_.weights()) {
      if (w.shared_with().empty()) memory->set_weight_bytes(memory->weight_bytes() + w.bytes());
    }
    for (const v1::KvCache& c : plan_.kv_caches()) {
      memory->set_kv_bytes(memory->kv_bytes() + c.bytes());
    }
    memory->set_arena_bytes(plan_.arena_bytes());
  }

  const Graph& graph_;
  const CompileOptions& options_;
  v1::Plan plan_;
  std::map<int32_t, int32_t> register_of_;
};

}  // namespace

absl::StatusOr<v1::Plan> Compile(const Graph& graph, const CompileOptions& options) {
  if (const std::string error = graph::Validate(graph); !error.empty()) {
    return absl::InternalError(absl::StrCat("graph of ", graph.architecture, ": ", error));
  }
  if (absl::Status status = CheckLimits(graph, options); !status.ok()) return status;
  return Compiler(graph, options).Run();
}

}  // namespace mneme::plan
