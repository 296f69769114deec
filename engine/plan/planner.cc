#include "engine/plan/planner.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <map>
#include <utility>

#include "engine/plan/boxing.h"
#include "engine/plan/expert_parts.h"
#include "engine/plan/weight_parts.h"

namespace mneme::plan {
namespace {

using graph::Graph;
using graph::Operator;
using graph::Sbp;
using graph::Signature;

constexpr double kNever = std::numeric_limits<double>::infinity();

// The layouts in which a tensor exists, as bits.
using Layouts = uint8_t;
constexpr Layouts Bit(Sbp sbp) {
  return sbp == Sbp::B() ? 1 : sbp == Sbp::S(1) ? 2 : sbp == Sbp::P() ? 4 : 8;
}

double ElementBytes(v1::ElementType type) { return type == v1::BF16 ? 2 : 4; }

bool InPlace(v1::OperatorKind kind) { return kind == v1::ROPE || kind == v1::CLAMP; }

// Costs of one graph on one cluster, and where each tensor ends.
class Model {
 public:
  Model(const Graph& graph, const Partition& partition, const CostModel& cost)
      : graph_(graph), partition_(partition), cost_(cost) {
    last_use_.assign(slots(), -1);
    readers_.assign(graph.weights.size(), 0);
    for (const Operator& op : graph.operators) {
      for (int32_t weight : op.weights) {
        if (weight >= 0) ++readers_[WeightOwner(graph, weight)];
      }
    }
    for (size_t i = 0; i < graph.operators.size(); ++i) {
      const int32_t at = static_cast<int32_t>(i);
      const Operator& op = graph.operators[i];
      for (int32_t input : op.inputs) {
        if (input >= 0) last_use_[input] = at;
      }
      EachShared(op, nullptr, [&](int32_t slot, Layouts) { last_use_[slot] = at; });
    }
    last_use_[graph.logits] = static_cast<int32_t>(graph.operators.size());
  }

  // Tensors, and behind them what several operators must see alike.
  size_t slots() const { return 2 * graph_.tensors.size() + MostLayers() + graph_.weights.size(); }
  int32_t last_use(int32_t slot) const { return last_use_[slot]; }

  // Calls see(slot, layout) for what `op` must see as all others do that see it: a layer's KV
  // cache; a weight with several readers, which lies in one way; the selections of which a prefetch
  // and its gather take the same ones.
  template <class See>
  void EachShared(const Operator& op, const Signature* s, const See& see) const {
    const auto tensors = static_cast<int32_t>(graph_.tensors.size());
    const Layouts first = s == nullptr || s->inputs.empty() ? 0 : Bit(s->inputs[0]);
    if (op.kind == v1::ATTENTION) see(tensors + op.attributes.attention().layer(), first);
    if (op.kind == v1::KV_APPEND) see(tensors + op.attributes.kv_append().layer(), first);
    const int32_t weights = tensors + MostLayers();
    if (op.kind == v1::VALUE_PREFETCH || op.kind == v1::VALUE_GATHER) {
      see(weights + static_cast<int32_t>(graph_.weights.size()) + op.inputs[0], first);
    }
    if (op.kind == v1::ROPE) return;  // always whole
    for (size_t i = 0; i < op.weights.size(); ++i) {
      if (op.weights[i] < 0) continue;
      const int32_t owner = WeightOwner(graph_, op.weights[i]);
      if (readers_[owner] > 1) see(weights + owner, s == nullptr ? 0 : Bit(s->weights[i]));
    }
  }

  // Seconds to have `tensor` as `wanted` for the operator `at`, given the layouts it has; these
  // grow by what is made.
  double Box(int32_t tensor, Sbp wanted, const Operator* reader, int32_t at, Layouts* has) const {
    if (*has & Bit(wanted)) return 0;
    const bool written = reader != nullptr && InPlace(reader->kind);
    const bool whole = *has & Bit(Sbp::B());
    if (wanted == Sbp::B()) return MakeWhole(tensor, has);
    // A view of a whole register must not be written through, chunks are not one run of columns,
    // and who is absent adds nothing only to a sum.
    const bool readable = wanted == Sbp::S(1) ? !written && !partition_.Of(tensor).empty() &&
                                                    partition_.Chunks(tensor) == 1
                                              : reader != nullptr && reader->kind == v1::ADDITION;
    if (!readable) return kNever;
    if (whole) return 0;
    if (wanted == Sbp::S(1) && Scatters(last_use_[tensor] == at)) {
      *has |= Bit(wanted);
      return Exchange(tensor);
    }
    return MakeWhole(tensor, has);
  }

  double OperatorSeconds(const Operator& op, const Signature& s) const {
    double bytes = 0;
    for (size_t i = 0; i < op.weights.size(); ++i) {
      if (op.weights[i] >= 0) bytes += WeightBytes(op, s, static_cast<int>(i));
    }
    switch (op.kind) {
      case v1::EMBEDDING:
      case v1::ROPE:
      case v1::VALUE_PREFETCH:
      case v1::PRODUCT_KEY_SELECT:
        bytes = 0;  // a few rows
        break;
      case v1::ATTENTION: {
        const v1::Attributes::Attention& a = op.attributes.attention();
        int64_t heads = a.kv_heads();
        if (s.inputs[0] == Sbp::S(1)) {
          heads = Most(CutHeads(a.heads(), a.kv_heads(), partition_.ranks()).kv_heads);
        }
        const int64_t seen =
            a.window() > 0 ? std::min<int64_t>(a.window(), cost_.context) : cost_.context;
        bytes = 8.0 * static_cast<double>(heads * a.head_dim() * seen);
        break;
      }
      case v1::EXPERTS:
        bytes = ExpertBytesOfToken(graph_, op, s, partition_.ranks());
        break;
      case v1::VALUE_GATHER: {
        const v1::Attributes::Gather& a = op.attributes.gather();
        const graph::Weight& table = graph_.weights[op.weights[0]];
        const int64_t pre_width = op.inputs[4] >= 0 ? 0 : a.pre_width();
        bytes = cost_.row_penalty * Share(op.inputs[0], s.inputs[0]) *
                FullestShare(graph_, op, s, 0, partition_) *
                static_cast<double>(a.selections() * (pre_width + a.width())) *
                ElementBytes(table.type);
        break;
      }
      case v1::PRE_SCORE: {
        const v1::Attributes::Gather& a = op.attributes.gather();
        bytes = cost_.row_penalty * FullestShare(graph_, op, s, 0, partition_) *
                static_cast<double>(int64_t{a.selections()} * a.pre_width()) *
                ElementBytes(graph_.weights[op.weights[0]].type);
        break;
      }
      default:
        break;
    }
    return bytes / cost_.bytes_per_second;
  }

  // What the schedule needs of the logits: all of them on rank 0.
  double LogitsSeconds(Layouts has) const {
    return has & Bit(Sbp::B()) ? 0 : Exchange(graph_.logits);
  }

 private:
  int32_t MostLayers() const {
    int32_t layers = 0;
    for (const graph::KvLayer& kv : graph_.kv_layers) layers = std::max(layers, kv.layer + 1);
    return layers;
  }
  static int64_t Most(const Parts& parts) {
    int64_t most = 0;
    for (const Part& part : parts) most = std::max(most, part.size());
    return most;
  }
  // Of the fullest rank.
  double Share(int32_t tensor, Sbp layout) const {
    if (layout != Sbp::S(1)) return 1;
    return static_cast<double>(Most(partition_.Of(tensor))) /
           static_cast<double>(graph_.tensors[tensor].cols);
  }
  double WeightBytes(const Operator& op, const Signature& s, int operand) const {
    const graph::Weight& w = graph_.weights[op.weights[operand]];
    const double bytes = static_cast<double>(w.rows * w.cols) * ElementBytes(w.type);
    return bytes * FullestShare(graph_, op, s, static_cast<size_t>(operand), partition_);
  }
  double Exchange(int32_t tensor) const {
    const double bytes = 4.0 * static_cast<double>(graph_.tensors[tensor].cols);
    // Candidates' indices go with their scores.
    if (graph_.tensors[tensor].type == v1::I32) return bytes / cost_.bytes_per_second;
    return cost_.exchange_seconds + cost_.exchange_seconds_per_rank * partition_.ranks() +
           bytes / cost_.bytes_per_second;
  }
  double MakeWhole(int32_t tensor, Layouts* has) const {
    if (!(*has & Bit(Sbp::P())) && partition_.Chunks(tensor) > 1) return kNever;
    *has |= Bit(Sbp::B());
    return Exchange(tensor);
  }

  const Graph& graph_;
  const Partition& partition_;
  const CostModel cost_;
  std::vector<int32_t> last_use_;
  std::vector<int32_t> readers_;  // of each weight that has memory of its own
};

// One way to have come so far.
struct State {
  double seconds = 0;
  int32_t before = -1;  // of the states before the last operator
  int32_t signature = -1;
};

// Slots that live, ascending, each with its layouts.
using Cut = std::vector<std::pair<int32_t, Layouts>>;

Layouts* Find(Cut* cut, int32_t slot) {
  for (auto& [s, layouts] : *cut) {
    if (s == slot) return &layouts;
  }
  return nullptr;
}

// Runs one operator on a cut: its seconds, boxings included, or never.
double Apply(const Model& model, const Operator& op, const Signature& s, int32_t at, Cut* cut) {
  double seconds = model.OperatorSeconds(op, s);
  for (size_t i = 0; i < op.inputs.size(); ++i) {
    if (op.inputs[i] < 0) continue;
    // Others may still read what was exchanged, and its other layouts would be those of before.
    if (InPlace(op.kind) && std::popcount(*Find(cut, op.inputs[i])) > 1) return kNever;
    seconds += model.Box(op.inputs[i], s.inputs[i], &op, at, Find(cut, op.inputs[i]));
  }
  bool alike = true;
  model.EachShared(op, &s, [&](int32_t slot, Layouts seen) {
    const Layouts* before = Find(cut, slot);
    if (before == nullptr) {
      cut->emplace_back(slot, seen);
    } else {
      alike = alike && *before == seen;
    }
  });
  if (!alike) return kNever;
  for (size_t i = 0; i < op.outputs.size(); ++i) {
    if (op.outputs[i] >= 0 && model.last_use(op.outputs[i]) > at) {
      cut->emplace_back(op.outputs[i], Bit(s.outputs[i]));
    }
  }
  std::erase_if(*cut, [&](const auto& slot) { return model.last_use(slot.first) <= at; });
  std::sort(cut->begin(), cut->end());
  return seconds;
}

}  // namespace

Choice ChooseSignatures(const Graph& graph, const Partition& partition, const CostModel& cost,
                        const SignatureOptions& options) {
  const Model model(graph, partition, cost);
  const size_t count = graph.operators.size();
  std::vector<std::vector<State>> steps;  // after each operator
  std::vector<Cut> cuts = {{}};
  std::vector<State> states = {{}};
  for (size_t i = 0; i < count; ++i) {
    const Operator& op = graph.operators[i];
    std::map<Cut, State> next;
    for (size_t from = 0; from < states.size(); ++from) {
      for (size_t s = 0; s < options[i].size(); ++s) {
        Cut cut = cuts[from];
        const double seconds =
            states[from].seconds + Apply(model, op, options[i][s], static_cast<int32_t>(i), &cut);
        if (seconds == kNever) continue;
        const State state{seconds, static_cast<int32_t>(from), static_cast<int32_t>(s)};
        const auto [it, inserted] = next.try_emplace(std::move(cut), state);
        if (!inserted && state.seconds < it->second.seconds) it->second = state;
      }
    }
    cuts.clear();
    states.clear();
    for (auto& [cut, state] : next) {
      cuts.push_back(cut);
      states.push_back(state);
    }
    steps.push_back(states);
  }
  Choice choice;
  choice.seconds = kNever;
  int32_t best = 0;
  for (size_t i = 0; i < states.size(); ++i) {
    const Layouts* logits = Find(&cuts[i], graph.logits);
    const double seconds = states[i].seconds + (logits ? model.LogitsSeconds(*logits) : 0);
    if (seconds >= choice.seconds) continue;
    choice.seconds = seconds;
    best = static_cast<int32_t>(i);
  }
  if (choice.seconds == kNever) return choice;
  choice.signatures.resize(count);
  for (size_t i = count; i-- > 0;) {
    const State& state = steps[i][best];
    choice.signatures[i] = options[i][state.signature];
    best = state.before;
  }
  return choice;
}

int32_t ChooseRanks(const Graph& graph, int32_t most, const CostModel& cost) {
  int32_t best = 1;
  double least = kNever;
  for (int32_t ranks = 1; ranks <= most; ranks = 2 * ranks < most ? 2 * ranks : most) {
    const Partition partition(graph, ranks);
    const double seconds =
        ChooseSignatures(graph, partition, cost, RunnableSignatures(graph, partition)).seconds;
    if (seconds < least) {
      least = seconds;
      best = ranks;
    }
    if (ranks == most) break;
  }
  return best;
}

double ModelledSeconds(const Graph& graph, const Partition& partition, const CostModel& cost,
                       const std::vector<Signature>& signatures) {
  const Model model(graph, partition, cost);
  Cut cut;
  double seconds = 0;
  for (size_t i = 0; i < graph.operators.size() && seconds < kNever; ++i) {
    seconds += Apply(model, graph.operators[i], signatures[i], static_cast<int32_t>(i), &cut);
  }
  const Layouts* logits = Find(&cut, graph.logits);
  return seconds + (logits != nullptr ? model.LogitsSeconds(*logits) : 0);
}

}  // namespace mneme::plan
