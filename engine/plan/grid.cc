#include "engine/plan/grid.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/graph/signatures.h"

namespace mneme::plan {
namespace {

using graph::Graph;
using graph::Operator;
using graph::Sbp;
using graph::Signature;

bool Allowed(const Graph& graph, const Partition& partition, const Operator& op,
             const Signature& s) {
  const auto tensors = [&](const std::vector<int32_t>& operands, const std::vector<Sbp>& layouts) {
    for (size_t i = 0; i < operands.size(); ++i) {
      if (operands[i] < 0 || layouts[i].kind != Sbp::Kind::kSplit) continue;
      if (layouts[i].axis != 1) return false;
      // What product keys keep on each rank is not cut: every rank has as many candidates.
      if (op.kind == v1::PRODUCT_KEY_CANDIDATES) continue;
      if (partition.Of(operands[i]).empty()) return false;
    }
    return true;
  };
  if (!tensors(op.inputs, s.inputs) || !tensors(op.outputs, s.outputs)) return false;
  for (size_t i = 0; i < op.weights.size(); ++i) {
    if (op.weights[i] < 0 || s.weights[i].kind != Sbp::Kind::kSplit) continue;
    const graph::Weight& w = graph.weights[op.weights[i]];
    if ((s.weights[i].axis == 0 ? w.rows : w.cols) < partition.ranks()) return false;
  }
  return true;
}

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

}  // namespace

GridPartition::GridPartition(const Graph& graph, Grid grid)
    : grid_(grid),
      parts_{Partition(graph, grid.ranks[kOuter]), Partition(graph, grid.ranks[kInner]),
             Partition(graph, grid.total())} {}

double GridPartition::Share(const Graph& graph, int32_t tensor, bool outer, bool inner) const {
  if (!outer && !inner) return 1;
  int64_t most = 0;
  for (const Part& part : over(outer, inner).Of(tensor)) most = std::max(most, part.size());
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
            Fits(partition, op.outputs, o.outputs, n.outputs)) {
          options[i].push_back({o, n});
        }
      }
    }
  }
  return options;
}

SignatureOptions DeclaredSignatures(const Graph& graph, const Partition& partition) {
  SignatureOptions options;
  for (const Operator& op : graph.operators) {
    options.emplace_back();
    for (const Signature& s : graph::Signatures(graph, op)) {
      if (options.back().empty() || (partition.ranks() > 1 && Allowed(graph, partition, op, s))) {
        options.back().push_back(s);
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
