#include "engine/graph/pre_scores.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace mneme::graph {
namespace {

bool Fused(const Operator& op) { return op.kind == v1::VALUE_GATHER && op.inputs[3] >= 0; }

}  // namespace

bool HasFusedPreScores(const Graph& graph) {
  return std::any_of(graph.operators.begin(), graph.operators.end(), Fused);
}

Graph WithPreScores(const Graph& graph) {
  Graph split = graph;
  split.operators.clear();
  for (Operator op : graph.operators) {
    if (Fused(op)) {
      Tensor y;
      y.name = absl::StrCat(absl::StripSuffix(op.name, "gather"), "pre_score");
      y.cols = op.attributes.gather().selections();
      const auto tensor = static_cast<int32_t>(split.tensors.size());
      Operator score = op;
      score.name = y.name;
      score.kind = v1::PRE_SCORE;
      score.inputs = {op.inputs[0], op.inputs[3]};
      score.outputs = {tensor};
      op.inputs[4] = tensor;
      op.inputs[3] = -1;
      split.tensors.push_back(std::move(y));
      split.operators.push_back(std::move(score));
    }
    split.operators.push_back(std::move(op));
  }
  return split;
}

}  // namespace mneme::graph
