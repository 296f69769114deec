#include "engine/plan/runnable_signatures.h"

#include "engine/graph/signatures.h"
#include "engine/plan/expert_parts.h"
#include "engine/plan/weight_parts.h"

namespace mneme::plan {
namespace {

using graph::Graph;
using graph::Operator;
using graph::Sbp;
using graph::Signature;

bool HasParts(const Partition& partition, int32_t tensor, Sbp layout) {
  if (layout.kind != Sbp::Kind::kSplit) return true;
  return layout.axis == 1 && (tensor < 0 || !partition.Of(tensor).empty());
}

bool Runnable(const Graph& graph, const Partition& partition, const Operator& op,
              const Signature& s) {
  for (size_t i = 0; i < op.inputs.size(); ++i) {
    if (!HasParts(partition, op.inputs[i], s.inputs[i])) return false;
  }
  for (size_t i = 0; i < op.outputs.size(); ++i) {
    if (!HasParts(partition, op.outputs[i], s.outputs[i])) return false;
  }
  if (op.kind == v1::EXPERTS) return !PartsOfExperts(graph, op, s, partition.ranks()).empty();
  for (size_t i = 0; i < op.weights.size(); ++i) {
    if (op.weights[i] < 0 || s.weights[i].kind != Sbp::Kind::kSplit) continue;
    if (!SplitOf(op, s, i, partition).possible()) return false;
  }
  return true;
}

}  // namespace

std::vector<Signature> RunnableSignatures(const Graph& graph, const Partition& partition,
                                          const Operator& op, bool narrow) {
  std::vector<Signature> runnable;
  for (const Signature& s : graph::Signatures(graph, op)) {
    if (op.kind == v1::EXPERTS && !narrow && SplitsNarrowExperts(graph, op, s, partition.ranks())) {
      continue;
    }
    if (runnable.empty() || (partition.ranks() > 1 && Runnable(graph, partition, op, s))) {
      runnable.push_back(s);
    }
  }
  return runnable;
}

SignatureOptions RunnableSignatures(const Graph& graph, const Partition& partition) {
  SignatureOptions options;
  for (const Operator& op : graph.operators) {
    options.push_back(RunnableSignatures(graph, partition, op));
  }
  return options;
}

}  // namespace mneme::plan
