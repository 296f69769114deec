#include "engine/plan/compile.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/signatures.h"
#include "engine/plan/partition.h"
#include "engine/plan/place_registers.h"
#include "engine/plan/plan_of_rank.h"

namespace mneme::plan {
namespace {

using graph::Graph;
using graph::Operator;
using graph::Sbp;
using graph::Signature;

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
  if (options.cluster.ranks() < 1 || options.cluster.ranks() > kMaxRanks) {
    return absl::InvalidArgumentError(
        absl::StrCat("ranks is ", options.cluster.ranks(), ", must be in [1, ", kMaxRanks, "]"));
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

// What ranks hold beside weights: the KV cache, and at most the registers of all tensors that are
// alive together, whole. Of one rank, or of all where they share their memory.
MemoryNeeds NeedsOf(const Graph& graph, const CompileOptions& options) {
  const v1::StepLimits& limits = options.limits;
  return {.kv_positions = int64_t{limits.kv_blocks()} * limits.kv_block_tokens(),
          .other_bytes = WholeRegisterBytes(graph, limits.max_tokens(), limits.max_logit_rows()) *
                         (options.cost.shared_memory ? options.cluster.ranks() : 1)};
}

// Turns the graph's pieces into the plan's, one after the other.
class Compiler {
 public:
  Compiler(const Graph& graph, const CompileOptions& options, Partition partition, Choice choice)
      : graph_(graph),
        options_(options),
        partition_(std::move(partition)),
        choice_(std::move(choice)) {}

  v1::Plan Run() {
    plan_.set_model(options_.model_name);
    plan_.set_architecture(graph_.architecture);
    *plan_.mutable_cluster() = options_.cluster;
    *plan_.mutable_limits() = options_.limits;
    AddWeights();
    AddKvCaches();
    for (size_t i = 0; i < graph_.operators.size(); ++i) AddActor(i);
    GatherLogits();
    OrderRegisters();
    PlaceRegisters(Traced(), &plan_);
    AddMemory();
    return std::move(plan_);
  }

 private:
  // A tensor's memory in one layout. Operators that work in place continue it.
  using Key = std::pair<int32_t, int>;  // root tensor, kind of layout: only columns are split
  static Key KeyOf(int32_t root, Sbp sbp) { return {root, static_cast<int>(sbp.kind)}; }

  v1::Layout LayoutFor(int32_t tensor, Sbp sbp) const {
    v1::Layout layout = LayoutOf(sbp);
    if (sbp.kind == Sbp::Kind::kSplit) SetParts(partition_.Of(tensor), 1, &layout);
    return layout;
  }

  static void SetParts(const Parts& parts, int64_t width, v1::Layout* layout) {
    for (const Part& part : parts) {
      v1::Layout::Part* out = layout->add_parts();
      out->set_begin(part.begin / width);
      out->set_end(part.end / width);
    }
  }

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
    for (size_t i = 0; i < graph_.operators.size(); ++i) SplitWeights(i);
  }

  // Only the weights of linear operators are split, and each has one reader.
  void SplitWeights(size_t index) {
    const Operator& op = graph_.operators[index];
    if (op.kind != v1::LINEAR) return;
    const Signature& s = choice_.signatures[index];
    for (size_t i = 0; i < op.weights.size(); ++i) {
      if (op.weights[i] < 0 || s.weights[i].kind != Sbp::Kind::kSplit) continue;
      const bool out = i == 1 || s.weights[0] == Sbp::S(0);
      v1::Layout* layout = plan_.mutable_weights(op.weights[i])->mutable_layout();
      *layout = LayoutOf(s.weights[i]);
      SetParts(partition_.Of(out ? op.outputs[0] : op.inputs[0]), 1, layout);
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
      for (size_t i = 0; i < graph_.operators.size(); ++i) {
        const Operator& op = graph_.operators[i];
        if (op.kind != v1::KV_APPEND || op.attributes.kv_append().layer() != layer.layer) continue;
        const Sbp sbp = choice_.signatures[i].inputs[0];
        *cache->mutable_layout() = LayoutOf(sbp);
        if (sbp == Sbp::S(1)) {
          SetParts(partition_.Of(op.inputs[0]), layer.head_dim, cache->mutable_layout());
        }
      }
      cache->set_bytes(2 * positions * layer.kv_heads * layer.head_dim *
                       static_cast<int64_t>(sizeof(float)));
    }
  }

  int32_t Root(int32_t tensor) const {
    while (graph_.tensors[tensor].in_place_of >= 0) tensor = graph_.tensors[tensor].in_place_of;
    return tensor;
  }

  // The register of a tensor in a layout: there is one from now on.
  int32_t Register(int32_t tensor, Sbp sbp) {
    const auto [it, inserted] =
        register_of_.try_emplace(KeyOf(Root(tensor), sbp), plan_.registers_size());
    if (!inserted) return it->second;
    const graph::Tensor& t = graph_.tensors[Root(tensor)];
    v1::Register* reg = plan_.add_registers();
    reg->set_name(t.name);
    reg->set_type(t.type);
    reg->set_rows(t.rows);
    reg->set_cols(t.cols);
    *reg->mutable_layout() = LayoutFor(tensor, sbp);
    reg->set_slots(1);
    return it->second;
  }

  bool Has(int32_t tensor, Sbp sbp) const {
    return register_of_.count(KeyOf(Root(tensor), sbp)) > 0;
  }

  // The layout in which an input is read, after the boxings that it needs.
  Sbp Provide(int32_t tensor, Sbp wanted) {
    if (Has(tensor, wanted)) return wanted;
    if (!Has(tensor, Sbp::B())) {
      AddBoxing(tensor, Has(tensor, Sbp::P()) ? Sbp::P() : Sbp::S(1));
    }
    return Sbp::B();
  }

  v1::Actor* AddBoxing(int32_t tensor, Sbp from) {
    v1::Actor* actor = plan_.add_actors();
    const bool sum = from == Sbp::P();
    actor->set_name(absl::StrCat(graph_.tensors[tensor].name, sum ? ".sum" : ".whole"));
    actor->set_kind(sum ? v1::ALL_REDUCE : v1::ALL_GATHER);
    if (!sum) actor->mutable_attributes()->mutable_gathering();
    actor->add_inputs(Register(tensor, from));
    actor->add_outputs(Register(tensor, Sbp::B()));
    actor->set_lane(v1::EXCHANGE);
    actor->set_signature(absl::StrCat("(", graph::SbpName(from), ") -> B"));
    return actor;
  }

  void AddActor(size_t index) {
    const Operator& op = graph_.operators[index];
    const Signature& signature = choice_.signatures[index];
    std::vector<int32_t> inputs;
    std::vector<v1::Layout> read_as;
    bool plain = true;
    for (size_t i = 0; i < op.inputs.size(); ++i) {
      const int32_t tensor = op.inputs[i];
      inputs.push_back(-1);
      read_as.push_back(LayoutOf(signature.inputs[i]));
      if (tensor < 0) continue;
      const Sbp lies = Provide(tensor, signature.inputs[i]);
      inputs.back() = Register(tensor, lies);
      read_as.back() = LayoutFor(tensor, signature.inputs[i]);
      plain = plain && lies == signature.inputs[i];
    }
    v1::Actor* actor = plan_.add_actors();
    actor->set_name(op.name);
    actor->set_kind(op.kind);
    *actor->mutable_attributes() = op.attributes;
    for (int32_t input : inputs) actor->add_inputs(input);
    for (size_t i = 0; i < op.outputs.size(); ++i) {
      actor->add_outputs(op.outputs[i] < 0 ? -1 : Register(op.outputs[i], signature.outputs[i]));
    }
    for (int32_t weight : op.weights) actor->add_weights(weight);
    actor->set_lane(op.lane);
    actor->set_signature(graph::SignatureName(Present(op, signature)));
    if (plain) return;
    for (const v1::Layout& layout : read_as) *actor->add_input_layouts() = layout;
  }

  // The schedule samples on rank 0.
  void GatherLogits() {
    if (!Has(graph_.logits, Sbp::B())) {
      const Sbp from = Has(graph_.logits, Sbp::P()) ? Sbp::P() : Sbp::S(1);
      v1::Actor* actor = AddBoxing(graph_.logits, from);
      if (from == Sbp::S(1)) actor->mutable_attributes()->mutable_gathering()->set_front_only(true);
    }
  }

  // By tensor, as the graph has them.
  void OrderRegisters() {
    std::vector<int32_t> place(plan_.registers_size());
    google::protobuf::RepeatedPtrField<v1::Register> ordered;
    for (auto& [key, index] : register_of_) {
      place[index] = ordered.size();
      *ordered.Add() = plan_.registers(index);
      index = place[index];
    }
    plan_.mutable_registers()->Swap(&ordered);
    for (v1::Actor& actor : *plan_.mutable_actors()) {
      for (auto* operands : {actor.mutable_inputs(), actor.mutable_outputs()}) {
        for (int32_t& operand : *operands) operand = operand < 0 ? -1 : place[operand];
      }
    }
    plan_.set_logits_register(register_of_.at(KeyOf(Root(graph_.logits), Sbp::B())));
  }

  // The registers that a trace reads, in whatever layouts their tensors lie.
  std::set<int32_t> Traced() const {
    std::set<int32_t> traced;
    if (!options_.keep_trace) return traced;
    for (const auto& [name, tensor] : graph_.trace) {
      for (const auto& [key, index] : register_of_) {
        if (key.first == Root(tensor)) traced.insert(index);
      }
    }
    return traced;
  }

  void AddMemory() {
    for (int32_t rank = 0; rank < options_.cluster.ranks(); ++rank) {
      const v1::Plan local = PlanOfRank(plan_, rank);
      v1::RankMemory* memory = plan_.add_memory();
      memory->set_rank(rank);
      for (const v1::Weight& w : local.weights()) {
        if (w.shared_with().empty()) memory->set_weight_bytes(memory->weight_bytes() + w.bytes());
      }
      for (const v1::KvCache& c : local.kv_caches()) {
        memory->set_kv_bytes(memory->kv_bytes() + c.bytes());
      }
      memory->set_arena_bytes(plan_.arena_bytes());
    }
  }

  const Graph& graph_;
  const CompileOptions& options_;
  const Partition partition_;
  const Choice choice_;
  v1::Plan plan_;
  std::map<Key, int32_t> register_of_;
};

}  // namespace

absl::StatusOr<v1::Plan> Compile(const Graph& graph, const CompileOptions& options) {
  if (const std::string error = graph::Validate(graph); !error.empty()) {
    return absl::InternalError(absl::StrCat("graph of ", graph.architecture, ": ", error));
  }
  if (absl::Status status = CheckLimits(graph, options); !status.ok()) return status;
  Partition partition(graph, options.cluster.ranks());
  absl::StatusOr<Choice> choice =
      ChooseSignatures(graph, partition, options.cost, RunnableSignatures(graph, partition),
                       NeedsOf(graph, options));
  if (!choice.ok()) return choice.status();
  return Compiler(graph, options, std::move(partition), *std::move(choice)).Run();
}

}  // namespace mneme::plan
