#include "engine/plan/expert_parts.h"

#include <algorithm>
#include <cmath>

namespace mneme::plan {
namespace {

using graph::Sbp;

bool SplitsExperts(const graph::Signature& s) { return s.weights[0] == Sbp::S(0); }
bool SplitsWidth(const graph::Signature& s) { return s.weights[0] == Sbp::S(1); }

double Bytes(const graph::Weight& w) {
  return static_cast<double>(w.rows * w.cols) * (w.type == v1::BF16 ? 2 : 4);
}

}  // namespace

Parts PartsOfExperts(const graph::Graph& graph, const graph::Operator& op,
                     const graph::Signature& signature, int32_t ranks) {
  const graph::Weight& down = graph.weights[op.weights[2]];
  if (SplitsExperts(signature)) return CutEvenly(down.stack, 1, ranks);
  if (SplitsWidth(signature)) return CutColumns(down.cols, ranks);
  return {};
}

double ExpertBytesOfToken(const graph::Graph& graph, const graph::Operator& op,
                          const graph::Signature& signature, int32_t ranks) {
  const double experts = static_cast<double>(graph.weights[op.weights[2]].stack);
  const double chosen = static_cast<double>(graph.tensors[op.inputs[1]].cols);
  double of_one = 0;
  for (int32_t weight : op.weights) of_one += Bytes(graph.weights[weight]) / experts;
  int64_t most = 0;
  for (const Part& part : PartsOfExperts(graph, op, signature, ranks)) {
    most = std::max(most, part.size());
  }
  if (SplitsWidth(signature)) {
    const double width = static_cast<double>(graph.weights[op.weights[2]].cols);
    return chosen * of_one * static_cast<double>(most) / width;
  }
  if (!SplitsExperts(signature)) return chosen * of_one;
  // Hypergeometric: `chosen` of all experts, of which `most` are the rank's.
  const double share = static_cast<double>(most) / experts;
  const double left = experts > 1 ? (experts - chosen) / (experts - 1) : 0;
  const double deviation = std::sqrt(chosen * share * (1 - share) * left);
  return of_one * std::min({chosen * share + deviation, chosen, static_cast<double>(most)});
}

}  // namespace mneme::plan
