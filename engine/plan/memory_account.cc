#include <algorithm>
#include <map>

#include "engine/plan/layout_search.h"
#include "engine/plan/weight_parts.h"

namespace mneme::plan {
namespace {

using graph::Graph;
using graph::Operator;
using graph::Sbp;

GridLayout WeightLayout(const GridSignature& s, int operand) {
  return {s[kOuter].weights[operand], s[kInner].weights[operand]};
}

// Whether the rules of layouts see to it that the readers agree: they read one table with the same
// selections.
bool ReadsAlike(const Graph& graph, const std::vector<std::pair<size_t, int>>& readers) {
  const int32_t slot = graph.operators[readers[0].first].inputs.empty()
                           ? -1
                           : graph.operators[readers[0].first].inputs[0];
  return std::all_of(readers.begin(), readers.end(), [&](const auto& reader) {
    const Operator& op = graph.operators[reader.first];
    return ReadsTable(op.kind) && op.inputs[0] == slot;
  });
}

}  // namespace

MemoryAccount::MemoryAccount(const LayoutRules& rules, int64_t kv_positions)
    : rules_(rules),
      root_(rules.graph().weights.size(), -1),
      first_reader_(rules.graph().weights.size(), 0),
      kv_positions_(static_cast<double>(kv_positions)) {
  const Graph& graph = rules.graph();
  const Pricing& pricing = rules.pricing();
  std::map<int32_t, SharedWeight> readers;
  for (size_t i = 0; i < graph.operators.size(); ++i) {
    for (size_t k = 0; k < graph.operators[i].weights.size(); ++k) {
      const int32_t weight = graph.operators[i].weights[k];
      if (weight < 0) continue;
      SharedWeight& w = readers[WeightOwner(graph, weight)];
      w.weight = WeightOwner(graph, weight);
      if (w.readers.empty()) first_reader_[w.weight] = i;
      w.readers.emplace_back(i, static_cast<int>(k));
    }
  }
  const bool one_copy = pricing.cost().shared_memory;
  for (auto& [weight, shared] : readers) {
    if (shared.readers.size() < 2 || ReadsAlike(graph, shared.readers)) continue;
    for (size_t i = 0; i < graph.weights.size(); ++i) {
      if (WeightOwner(graph, static_cast<int32_t>(i)) == weight) {
        root_[i] = static_cast<int32_t>(shared_.size());
      }
    }
    shared.layouts.push_back({Sbp::B(), Sbp::B()});
    shared.bytes.push_back(pricing.WeightBytes(weight));
    for (const auto& [i, operand] : shared.readers) {
      for (const GridSignature& option : rules.options()[i]) {
        const GridLayout layout = WeightLayout(option, operand);
        if (std::find(shared.layouts.begin(), shared.layouts.end(), layout) !=
            shared.layouts.end()) {
          continue;
        }
        shared.layouts.push_back(layout);
        // Of one copy all of it exists anyway.
        shared.bytes.push_back(
            pricing.WeightBytes(weight) *
            (one_copy ? 1 : pricing.WeightShare(graph.operators[i], option, operand)));
      }
    }
    shared_.push_back(shared);
  }
}

double MemoryAccount::OptionBytes(size_t i, size_t option) const {
  const Operator& op = rules_.graph().operators[i];
  const Pricing& pricing = rules_.pricing();
  const bool one_copy = pricing.cost().shared_memory;
  const GridSignature& s = rules_.options()[i][option];
  double bytes = 0;
  for (size_t k = 0; k < op.weights.size(); ++k) {
    if (op.weights[k] < 0 || root_[op.weights[k]] >= 0) continue;
    if (first_reader_[WeightOwner(rules_.graph(), op.weights[k])] != i) continue;
    bytes += pricing.WeightBytes(op.weights[k]) *
             (one_copy ? 1 : pricing.WeightShare(op, s, static_cast<int>(k)));
  }
  if (op.kind == v1::KV_APPEND) {
    const double of_token = 8.0 * static_cast<double>(rules_.graph().tensors[op.inputs[0]].cols);
    bytes += kv_positions_ * of_token * (one_copy ? pricing.partition().grid().total() : 1) *
             pricing.CacheShare(op, {s[kOuter].inputs[0], s[kInner].inputs[0]});
  }
  return bytes;
}

bool MemoryAccount::CanRead(size_t i, size_t option, size_t root, const GridLayout& stored) const {
  const Operator& op = rules_.graph().operators[i];
  for (size_t k = 0; k < op.weights.size(); ++k) {
    if (op.weights[k] < 0 || root_[op.weights[k]] != static_cast<int32_t>(root)) continue;
    const GridLayout read = WeightLayout(rules_.options()[i][option], static_cast<int>(k));
    if (read != stored) return false;
  }
  return true;
}

bool MemoryAccount::Agree(const std::vector<size_t>& option_of) const {
  for (size_t root = 0; root < shared_.size(); ++root) {
    const auto& [first, operand] = shared_[root].readers[0];
    const GridLayout stored = WeightLayout(rules_.options()[first][option_of[first]], operand);
    for (const auto& [i, k] : shared_[root].readers) {
      if (!CanRead(i, option_of[i], root, stored)) return false;
    }
  }
  return true;
}

double MemoryAccount::SharedBytes(const std::vector<size_t>& option_of) const {
  double bytes = 0;
  for (const SharedWeight& w : shared_) {
    const auto& [first, operand] = w.readers[0];
    const GridLayout stored = WeightLayout(rules_.options()[first][option_of[first]], operand);
    bytes += w.bytes[std::find(w.layouts.begin(), w.layouts.end(), stored) - w.layouts.begin()];
  }
  return bytes;
}

}  // namespace mneme::plan
