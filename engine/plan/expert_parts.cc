#include "engine/plan/expert_parts.h"

namespace mneme::plan {
namespace {

using graph::Sbp;

bool SplitsExperts(const graph::Signature& s) { return s.weights[0] == Sbp::S(0); }
bool SplitsWidth(const graph::Signature& s) { return s.weights[0] == Sbp::S(1); }

}  // namespace

Parts PartsOfExperts(const graph::Graph& graph, const graph::Operator& op,
                     const graph::Signature& signature, int32_t ranks) {
  const graph::Weight& down = graph.weights[op.weights[2]];
  if (SplitsExperts(signature)) return CutEvenly(down.stack, 1, ranks);
  if (SplitsWidth(signature)) {
    const Parts parts = CutColumns(down.cols, ranks);
    return parts.empty() ? CutFinely(down.cols, ranks) : parts;
  }
  return {};
}

bool SplitsNarrowExperts(const graph::Graph& graph, const graph::Operator& op,
                         const graph::Signature& signature, int32_t ranks) {
  const graph::Weight& down = graph.weights[op.weights[2]];
  return SplitsWidth(signature) && CutColumns(down.cols, ranks).empty();
}

}  // namespace mneme::plan
