#include <algorithm>
#include <map>

#include "engine/plan/layout_search.h"

namespace mneme::plan {
namespace {

using graph::Graph;
using graph::Operator;
using graph::Sbp;

GridLayout WeightLayout(const GridSignature& s, int operand) {
  return {s[kOuter].weights[operand], s[kInner].weights[operand]};
}

int32_t Root(const Graph& graph, int32_t weight) {
  while (graph.weights[weight].shared_with >= 0) weight = graph.weights[weight].shared_with;
  return weight;
}

}  // namespace

MemoryAccount::MemoryAccount(const LayoutRules& rules, const MemoryNeeds& needs)
    : rules_(rules),
      root_(rules.graph().weights.size(), -1),
      fixed_bytes_(static_cast<double>(needs.other_bytes)),
      kv_positions_(static_cast<double>(needs.kv_positions)) {
  const Graph& graph = rules.graph();
  const Pricing& pricing = rules.pricing();
  std::map<int32_t, SharedWeight> readers;
  for (size_t i = 0; i < graph.operators.size(); ++i) {
    for (size_t k = 0; k < graph.operators[i].weights.size(); ++k) {
      const int32_t weight = graph.operators[i].weights[k];
      if (weight < 0) continue;
      SharedWeight& w = readers[Root(graph, weight)];
      w.weight = Root(graph, weight);
      w.readers.emplace_back(i, static_cast<int>(k));
    }
  }
  const bool one_copy = pricing.cost().shared_memory;
  for (auto& [weight, shared] : readers) {
    if (shared.readers.size() < 2) continue;
    for (size_t i = 0; i < graph.weights.size(); ++i) {
      if (Root(graph, static_cast<int32_t>(i)) == weight) {
        root_[i] = static_cast<int32_t>(shared_.size());
      }
    }
    shared.layouts.push_back({Sbp::B(), Sbp::B()});
    shared.bytes.push_back(pricing.WeightBytes(weight));
    for (const auto& [i, operand] : shared.readers) {
      if (one_copy) break;  // all of it exists anyway
      for (const GridSignature& option : rules.options()[i]) {
        const GridLayout layout = WeightLayout(option, operand);
        if (std::find(shared.layouts.begin(), shared.layouts.end(), layout) !=
            shared.layouts.end()) {
          continue;
        }
        shared.layouts.push_back(layout);
        shared.bytes.push_back(pricing.WeightBytes(weight) *
                               pricing.WeightShare(graph.operators[i], option, operand));
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
    for (int axis : {kOuter, kInner}) {
      if (stored[axis] != Sbp::B() && read[axis] != stored[axis]) return false;
    }
  }
  return true;
}

double MemoryAccount::SharedBytes(const std::vector<size_t>& option_of) const {
  double bytes = fixed_bytes_;
  for (const SharedWeight& w : shared_) {
    GridLayout stored = WeightLayout(
        rules_.options()[w.readers[0].first][option_of[w.readers[0].first]], w.readers[0].second);
    for (const auto& [i, operand] : w.readers) {
      const GridLayout read = WeightLayout(rules_.options()[i][option_of[i]], operand);
      for (int axis : {kOuter, kInner}) {
        if (read[axis] != stored[axis]) stored[axis] = Sbp::B();
      }
    }
    const auto it = std::find(w.layouts.begin(), w.layouts.end(), stored);
    // A layout that no reader has by itself: as if whole.
    bytes += w.bytes[it == w.layouts.end() ? 0 : it - w.layouts.begin()];
  }
  return bytes;
}

}  // namespace mneme::plan
