#include "engine/plan/grid.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/plan/expert_parts.h"
#include "engine/plan/weight_parts.h"

namespace mneme::plan {
namespace {

using graph::Graph;
using graph::Operator;
using graph::Sbp;
using graph::Signature;

bool Fits(const GridPartition& partition, const std::vector<int32_t>& tensors,
          const std::vector<Sbp>& outer, const std::vector<Sbp>& inner) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i] >= 0 && outer[i] == Sbp::S(1) && inner[i] == Sbp::S(1) &&
        !partition.Splits(tensors[i], true, true)) {
      return false;
    }
  }
  return true;
}

// A weight that is split alike on both axes has as many parts as there are ranks.
bool WeightsFit(const Graph& graph, const GridPartition& partition, const Operator& op,
                const Signature& outer, const Signature& inner) {
  const Partition& both = partition.over(true, true);
  for (size_t i = 0; i < op.weights.size(); ++i) {
    const Sbp sbp = outer.weights[i];
    if (op.weights[i] < 0 || sbp.kind != Sbp::Kind::kSplit || sbp != inner.weights[i]) continue;
    const bool possible = op.kind == v1::EXPERTS
                              ? !PartsOfExperts(graph, op, inner, both.ranks()).empty()
                              : SplitOf(op, inner, i, both).possible();
    if (!possible) return false;
  }
  return true;
}

}  // namespace

GridPartition::GridPartition(const Graph& graph, Grid grid)
    : grid_(grid),
      parts_{Partition(graph, grid.ranks[kOuter]), Partition(graph, grid.ranks[kInner]),
             Partition(graph, grid.total())} {}

double GridPartition::Share(const Graph& graph, int32_t tensor, bool outer, bool inner) const {
  if (!outer && !inner) return 1;
  const Partition& partition = over(outer, inner);
  int64_t most = 0;
  for (const Part& part : partition.Of(tensor)) most = std::max(most, part.size());
  most *= partition.Chunks(tensor);
  return static_cast<double>(most) / static_cast<double>(graph.tensors[tensor].cols);
}

GridOptions Combine(const Graph& graph, const GridPartition& partition,
                    const SignatureOptions& outer, const SignatureOptions& inner) {
  GridOptions options(graph.operators.size());
  for (size_t i = 0; i < options.size(); ++i) {
    const Operator& op = graph.operators[i];
    for (const Signature& o : outer[i]) {
      for (const Signature& n : inner[i]) {
        if (Fits(partition, op.inputs, o.inputs, n.inputs) &&
            Fits(partition, op.outputs, o.outputs, n.outputs) &&
            WeightsFit(graph, partition, op, o, n)) {
          options[i].push_back({o, n});
        }
      }
    }
  }
  return options;
}

std::string GridSignatureName(const Operator& op, const Grid& grid,
                              const GridSignature& signature) {
  const auto names = [&](const std::vector<int32_t>& operands, const std::vector<Sbp>& outer,
                         const std::vector<Sbp>& inner, std::string* list) {
    for (size_t i = 0; i < operands.size(); ++i) {
      if (operands[i] < 0) continue;
      absl::StrAppend(list, list->empty() ? "" : ", ",
                      grid.ranks[kOuter] > 1 ? graph::SbpName(outer[i]) : "",
                      graph::SbpName(inner[i]));
    }
  };
  std::string reads, writes;
  names(op.inputs, signature[kOuter].inputs, signature[kInner].inputs, &reads);
  names(op.weights, signature[kOuter].weights, signature[kInner].weights, &reads);
  names(op.outputs, signature[kOuter].outputs, signature[kInner].outputs, &writes);
  return absl::StrCat("(", reads, ") -> ", writes.empty() ? "()" : writes);
}

}  // namespace mneme::plan
