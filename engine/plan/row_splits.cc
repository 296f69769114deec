#include "engine/plan/row_splits.h"

#include <algorithm>
#include <vector>

#include "engine/graph/signatures.h"

namespace mneme::plan {
namespace {

using graph::Sbp;
using graph::Signature;

bool Has(const std::vector<Sbp>& layouts, Sbp sbp) {
  return std::find(layouts.begin(), layouts.end(), sbp) != layouts.end();
}

bool SamePartials(const std::vector<Sbp>& a, const std::vector<Sbp>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](Sbp x, Sbp y) { return (x == Sbp::P()) == (y == Sbp::P()); });
}

bool OnTokens(const graph::Graph& graph, const std::vector<int32_t>& tensors) {
  return std::all_of(tensors.begin(), tensors.end(), [&](int32_t t) {
    return t < 0 || graph.tensors[t].rows == v1::Register::TOKENS;
  });
}

}  // namespace

bool SplitsRows(const Signature& signature) {
  return Has(signature.inputs, Sbp::S(0)) || Has(signature.outputs, Sbp::S(0));
}

SignatureOptions WithRowSplits(const graph::Graph& graph, SignatureOptions options) {
  for (size_t i = 0; i < options.size(); ++i) {
    const graph::Operator& op = graph.operators[i];
    if (!OnTokens(graph, op.inputs) || !OnTokens(graph, op.outputs)) continue;
    for (const Signature& s : graph::Signatures(graph, op)) {
      if (SplitsRows(s)) options[i].push_back(s);
    }
  }
  return options;
}

bool SameSums(const Signature& chosen, const Signature& other) {
  return SamePartials(chosen.inputs, other.inputs) && SamePartials(chosen.outputs, other.outputs);
}

}  // namespace mneme::plan
