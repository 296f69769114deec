#include "engine/graph/square_sums.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace mneme::graph {
namespace {

// Columns of a SQUARE_SUM: one of queries, one of keys.
constexpr size_t kMostSums = 2;

bool SumsOverHeads(const Operator& op) {
  return op.kind == v1::RMS_NORM && op.attributes.norm().over_heads() && op.inputs[1] < 0;
}

// "block.3." of "block.3.query.norm".
std::string Prefix(const std::string& name) {
  const size_t last = name.rfind('.');
  const size_t before = last == 0 || last == std::string::npos ? last : name.rfind('.', last - 1);
  return before == std::string::npos ? "" : name.substr(0, before + 1);
}

}  // namespace

bool HasNormsOverHeads(const Graph& graph) {
  return std::any_of(graph.operators.begin(), graph.operators.end(), SumsOverHeads);
}

Graph WithSquareSums(const Graph& graph) {
  Graph split = graph;
  split.operators.clear();
  std::vector<Operator> operators = graph.operators;
  std::vector<bool> written(graph.tensors.size());
  for (size_t i = 0; i < operators.size(); ++i) {
    if (SumsOverHeads(operators[i])) {
      const auto tensor = static_cast<int32_t>(split.tensors.size());
      Operator sum;
      sum.name = absl::StrCat(Prefix(operators[i].name), "square_sum");
      sum.kind = v1::SQUARE_SUM;
      sum.outputs = {tensor};
      sum.lane = operators[i].lane;
      // This norm, and the next one whose input is there.
      for (size_t k = i; k < operators.size() && sum.inputs.size() < kMostSums; ++k) {
        Operator& norm = operators[k];
        if (!SumsOverHeads(norm) || !written[norm.inputs[0]]) continue;
        norm.inputs[1] = tensor;
        norm.attributes.mutable_norm()->set_sum(static_cast<int32_t>(sum.inputs.size()));
        sum.inputs.push_back(norm.inputs[0]);
      }
      Tensor y;
      y.name = sum.name;
      y.rows = graph.tensors[sum.inputs[0]].rows;
      y.cols = static_cast<int64_t>(sum.inputs.size());
      sum.inputs.resize(kMostSums, -1);
      split.tensors.push_back(std::move(y));
      split.operators.push_back(std::move(sum));
    }
    for (const int32_t output : operators[i].outputs) {
      if (output >= 0) written[output] = true;
    }
    split.operators.push_back(std::move(operators[i]));
  }
  return split;
}

}  // namespace mneme::graph
