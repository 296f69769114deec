#include "engine/plan/compile.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/signatures.h"
#include "engine/plan/boxing.h"
#include "engine/plan/check_limits.h"
#include "engine/plan/choose_layouts.h"
#include "engine/plan/partition.h"
#include "engine/plan/place_registers.h"
#include "engine/plan/plan_layouts.h"
#include "engine/plan/plan_of_rank.h"

namespace mneme::plan {
namespace {

using graph::Graph;
using graph::Operator;
using graph::Sbp;
using graph::Signature;

// Turns the graph's pieces into the plan's, one after the other.
class Compiler {
 public:
  Compiler(const Graph& graph, const CompileOptions& options, std::vector<Signature> signatures)
      : graph_(graph),
        options_(options),
        partition_(graph, options.cluster.ranks()),
        signatures_(std::move(signatures)),
        last_use_(graph.tensors.size(), 0) {
    for (size_t i = 0; i < graph.operators.size(); ++i) {
      const Operator& op = graph.operators[i];
      for (int32_t input : op.inputs) {
        if (input >= 0) last_use_[input] = i;
      }
      if (op.kind != v1::PRODUCT_KEY_CANDIDATES) continue;
      for (int32_t output : op.outputs) candidates_[output] = i;
    }
    last_use_[graph.logits] = graph.operators.size();
  }

  v1::Plan Run() {
    plan_.set_model(options_.model_name);
    plan_.set_architecture(graph_.architecture);
    *plan_.mutable_cluster() = options_.cluster;
    *plan_.mutable_limits() = options_.limits;
    AddWeights(graph_, partition_, signatures_, &plan_);
    AddKvCaches();
    for (size_t i = 0; i < graph_.operators.size(); ++i) AddActor(i);
    GatherLogits();
    OrderRegisters();
    PlaceRegisters(Traced(), &plan_);
    return std::move(plan_);
  }

 private:
  // A tensor's memory in one layout. Operators that work in place continue it.
  using Key = std::tuple<int32_t, Sbp::Kind, int>;  // root tensor, its layout
  static Key KeyOf(int32_t root, Sbp sbp) { return {root, sbp.kind, sbp.axis}; }

  v1::Layout LayoutFor(int32_t tensor, Sbp sbp) const {
    v1::Layout layout = LayoutOf(sbp);
    if (sbp == Sbp::S(1)) {
      SetParts(partition_.Of(tensor), 1, &layout);
      if (partition_.Chunks(tensor) > 1) {
        layout.set_chunks(static_cast<int32_t>(partition_.Chunks(tensor)));
      }
    }
    return layout;
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
        const Sbp sbp = signatures_[i].inputs[0];
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
    const Key key = KeyOf(Root(tensor), sbp);
    return register_of_.count(key) > 0 && stale_.count(key) == 0;
  }

  // The layout in which operator `at` reads an input, after the boxings that it needs: those that
  // the planner has priced.
  Sbp Provide(int32_t tensor, Sbp wanted, size_t at) {
    if (Has(tensor, wanted)) return wanted;
    if (Has(tensor, Sbp::B())) return Sbp::B();
    const Sbp from = Lies(tensor);
    const bool scatters =
        from == Sbp::P() && wanted.kind == Sbp::Kind::kSplit && Scatters(last_use_[tensor] == at);
    AddBoxing(tensor, from, scatters ? wanted : Sbp::B());
    return scatters ? wanted : Sbp::B();
  }

  // The layout of a tensor that is not whole.
  Sbp Lies(int32_t tensor) const {
    return Has(tensor, Sbp::S(1)) ? Sbp::S(1) : Has(tensor, Sbp::S(0)) ? Sbp::S(0) : Sbp::P();
  }

  v1::Actor* AddBoxing(int32_t tensor, Sbp from, Sbp to) {
    if (const auto it = candidates_.find(tensor); it != candidates_.end() && from == Sbp::S(1)) {
      return AddMerge(graph_.operators[it->second]);
    }
    v1::Actor* actor = plan_.add_actors();
    const bool sum = from == Sbp::P();
    const char* what = !sum ? ".whole" : to == Sbp::B() ? ".sum" : ".scatter";
    actor->set_name(absl::StrCat(graph_.tensors[tensor].name, what));
    actor->set_kind(!sum ? v1::ALL_GATHER : to == Sbp::B() ? v1::ALL_REDUCE : v1::REDUCE_SCATTER);
    if (!sum) actor->mutable_attributes()->mutable_gathering();
    actor->add_inputs(Register(tensor, from));
    actor->add_outputs(Register(tensor, to));
    actor->set_lane(v1::EXCHANGE);
    actor->set_signature(absl::StrCat("(", graph::SbpName(from), ") -> ", graph::SbpName(to)));
    return actor;
  }

  // The best of all ranks' candidates, indices and scores together.
  v1::Actor* AddMerge(const Operator& op) {
    v1::Actor* actor = plan_.add_actors();
    actor->set_name(absl::StrCat(op.name, ".merge"));
    actor->set_kind(v1::PRODUCT_KEY_MERGE);
    v1::Attributes::Merge* merge = actor->mutable_attributes()->mutable_merge();
    const v1::Attributes::Candidates& a = op.attributes.candidates();
    merge->set_heads(a.heads());
    merge->set_rank(a.rank());
    merge->set_top_k(a.top_k());
    for (int32_t output : op.outputs) actor->add_inputs(Register(output, Sbp::S(1)));
    for (int32_t output : op.outputs) actor->add_outputs(Register(output, Sbp::B()));
    for (size_t direction : {5, 6}) actor->add_weights(op.weights[direction]);
    actor->set_lane(v1::EXCHANGE);
    actor->set_signature(op.weights[5] < 0 ? "(S(1), S(1)) -> B, B" : "(S(1), S(1), B, B) -> B, B");
    return actor;
  }

  void AddActor(size_t index) {
    const Operator& op = graph_.operators[index];
    const Signature& signature = signatures_[index];
    std::vector<int32_t> inputs;
    std::vector<v1::Layout> read_as;
    bool plain = true;
    for (size_t i = 0; i < op.inputs.size(); ++i) {
      const int32_t tensor = op.inputs[i];
      inputs.push_back(-1);
      read_as.push_back(LayoutOf(signature.inputs[i]));
      if (tensor < 0) continue;
      const Sbp lies = Provide(tensor, signature.inputs[i], index);
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
    actor->set_signature(graph::SignatureName(graph::Present(op, signature)));
    if (!op.outputs.empty() && op.outputs[0] >= 0 && Root(op.outputs[0]) != op.outputs[0]) {
      SetStale(Root(op.outputs[0]), signature.outputs[0]);
    }
    if (plain) return;
    for (const v1::Layout& layout : read_as) *actor->add_input_layouts() = layout;
  }

  // What works in place changes one of a tensor's layouts: the others are those of before.
  void SetStale(int32_t root, Sbp changed) {
    for (Sbp sbp : {Sbp::B(), Sbp::S(1), Sbp::S(0), Sbp::P()}) {
      if (sbp != changed) stale_.insert(KeyOf(root, sbp));
    }
  }

  // The schedule samples on rank 0.
  void GatherLogits() {
    if (!Has(graph_.logits, Sbp::B())) {
      const Sbp from = Lies(graph_.logits);
      v1::Actor* actor = AddBoxing(graph_.logits, from, Sbp::B());
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
        if (std::get<0>(key) == Root(tensor)) traced.insert(index);
      }
    }
    return traced;
  }

  const Graph& graph_;
  const CompileOptions& options_;
  const Partition partition_;
  const std::vector<Signature> signatures_;  // by operator
  std::vector<size_t> last_use_;             // by tensor: the operator
  std::map<int32_t, size_t> candidates_;  // tensors of product-key candidates, and who writes them
  v1::Plan plan_;
  std::map<Key, int32_t> register_of_;
  std::set<Key> stale_;
};

// The plan's weight that is `w`, or one that reads the same memory in w's layout: there is one from
// now on.
int32_t WeightAs(const v1::Weight& w, int32_t index, v1::Plan* plan) {
  const auto same_layout = [&](const v1::Weight& other) {
    return other.layout().SerializeAsString() == w.layout().SerializeAsString();
  };
  if (same_layout(plan->weights(index))) return index;
  v1::Weight view = w;
  view.set_name(
      absl::StrCat(w.name(), " as ", w.layout().kind() == v1::Layout::BROADCAST ? "B" : "S"));
  if (w.shared_with().empty()) view.set_shared_with(w.name());
  for (int32_t i = 0; i < plan->weights_size(); ++i) {
    if (plan->weights(i).name() == view.name() && same_layout(plan->weights(i))) return i;
  }
  *plan->add_weights() = std::move(view);
  return plan->weights_size() - 1;
}

// `larger`: a plan of the same graph, with the same KV caches.
void AddProgram(int64_t from_tokens, v1::Plan larger, v1::Plan* plan) {
  for (v1::Actor& actor : *larger.mutable_actors()) {
    for (int32_t& weight : *actor.mutable_weights()) {
      if (weight >= 0) weight = WeightAs(larger.weights(weight), weight, plan);
    }
  }
  v1::Program* program = plan->add_programs();
  program->set_from_tokens(static_cast<int32_t>(from_tokens));
  program->mutable_registers()->Swap(larger.mutable_registers());
  program->mutable_actors()->Swap(larger.mutable_actors());
  program->set_logits_register(larger.logits_register());
  plan->set_arena_bytes(std::max(plan->arena_bytes(), larger.arena_bytes()));
  for (v1::RankMemory& memory : *plan->mutable_memory()) {
    memory.set_arena_bytes(plan->arena_bytes());
  }
}

// Whether ranks have the memory for registers of so many bytes each, beside what the plan has of
// weights and caches.
bool HoldsRegisters(const v1::Plan& plan, int64_t arena_bytes, const CostModel& cost) {
  if (cost.memory_bytes == 0 || arena_bytes <= plan.arena_bytes()) return true;
  int64_t fullest = 0;
  int64_t all = 0;
  for (const v1::RankMemory& memory : plan.memory()) {
    all += memory.kv_bytes() + arena_bytes;
    fullest = std::max(fullest, memory.weight_bytes() + memory.kv_bytes() + arena_bytes);
  }
  for (const v1::Weight& w : plan.weights()) all += w.shared_with().empty() ? w.bytes() : 0;
  return (cost.shared_memory ? all : fullest) <= cost.memory_bytes;
}

void AddMemory(v1::Plan* plan) {
  for (int32_t rank = 0; rank < plan->cluster().ranks(); ++rank) {
    const v1::Plan local = PlanOfRank(*plan, rank);
    v1::RankMemory* memory = plan->add_memory();
    memory->set_rank(rank);
    for (const v1::Weight& w : local.weights()) {
      if (w.shared_with().empty()) memory->set_weight_bytes(memory->weight_bytes() + w.bytes());
    }
    for (const v1::KvCache& c : local.kv_caches()) {
      memory->set_kv_bytes(memory->kv_bytes() + c.bytes());
    }
    memory->set_arena_bytes(plan->arena_bytes());
  }
}

}  // namespace

absl::StatusOr<v1::Plan> Compile(const Graph& graph, const CompileOptions& options) {
  if (const std::string error = graph::Validate(graph); !error.empty()) {
    return absl::InternalError(absl::StrCat("graph of ", graph.architecture, ": ", error));
  }
  if (absl::Status status = CheckLimits(graph, options); !status.ok()) return status;
  absl::StatusOr<LayoutChoice> choice = ChooseLayouts(graph, options);
  if (!choice.ok()) return choice.status();
  v1::Plan plan = Compiler(choice->graph, options, std::move(choice->choice.signatures)).Run();
  // Rounded, so that a plan has the same hash wherever it is made.
  plan.set_longest_step_seconds(std::ceil(1e6 * choice->choice.longest_step_seconds) / 1e6);
  AddMemory(&plan);
  for (StepChoice& step : choice->choice.larger_steps) {
    v1::Plan larger = Compiler(choice->graph, options, std::move(step.signatures)).Run();
    // What its steps would save is not worth refusing the model.
    if (!HoldsRegisters(plan, larger.arena_bytes(), options.cost)) continue;
    AddProgram(step.from_tokens, std::move(larger), &plan);
  }
  return plan;
}

int64_t ArenaBytes(const Graph& graph, const CompileOptions& options,
                   const std::vector<Signature>& signatures) {
  return Compiler(graph, options, signatures).Run().arena_bytes();
}

}  // namespace mneme::plan
