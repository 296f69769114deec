#include "engine/graph/signatures.h"

#include <tuple>

namespace mneme::graph {
namespace {

constexpr Sbp B = Sbp::B();
constexpr Sbp P = Sbp::P();
constexpr Sbp S0 = Sbp::S(0);
constexpr Sbp S1 = Sbp::S(1);
constexpr Sbp S2 = Sbp::S(2);

Signature Uniform(const Operator& op, Sbp sbp) {
  Signature s;
  for (int32_t input : op.inputs) s.inputs.push_back(input < 0 ? B : sbp);
  s.weights.assign(op.weights.size(), B);
  for (int32_t output : op.outputs) s.outputs.push_back(output < 0 ? B : sbp);
  return s;
}

// Operators that compute every row (and, where `columns`, every column) by itself.
void AddElementwise(const Operator& op, bool columns, std::vector<Signature>* to) {
  to->push_back(Uniform(op, S0));
  if (columns) to->push_back(Uniform(op, S1));
}

// Where the output is partial a bias is added on one rank only: the plan leaves it to the first.
void AddLinear(const Operator& op, std::vector<Signature>* to) {
  const bool bias = op.weights[1] >= 0;
  to->push_back({{S0}, {B, B}, {S0}});
  to->push_back({{B}, {S0, bias ? S1 : B}, {S1}});
  to->push_back({{S1}, {S1, B}, {P}});
  to->push_back({{P}, {B, B}, {P}});
}

// A norm of heads is independent per head; one over the row needs all of it, or the sum of squares
// of all of it.
void AddNorm(const Graph& graph, const Operator& op, std::vector<Signature>* to) {
  const bool given = op.kind == v1::RMS_NORM && op.inputs[1] >= 0;
  const bool heads = op.attributes.norm().width() < graph.tensors[op.inputs[0]].cols;
  AddElementwise(op, /*columns=*/heads, to);
  if (!given) return;
  Signature columns = Uniform(op, B);
  columns.inputs[0] = columns.outputs[0] = S1;
  for (size_t i = 0; i < op.weights.size(); ++i) columns.weights[i] = op.weights[i] < 0 ? B : S1;
  to->push_back(columns);
}

void AddGather(const Operator& op, std::vector<Signature>* to) {
  AddElementwise(op, /*columns=*/false, to);
  const bool pre = op.inputs[3] >= 0;
  const bool given = op.inputs[4] >= 0;
  // A rank with some columns of the pre-values has only part of the pre-score, which is not linear
  // in the output: that split needs the pre-score as an operator of its own. With it the others
  // would be what the fused operator does with one exchange less.
  if (!pre) to->push_back({{B, B, B, B, B}, {S1}, {S1}});
  if (given) return;
  to->push_back({{B, B, B, B, B}, {S0}, {P}});
  to->push_back({{S1, S1, S1, B, B}, {B}, {P}});
}

void AddExperts(std::vector<Signature>* to) {
  to->push_back({{S0, S0, S0}, {B, B, B}, {S0}});
  // Some of the experts, or some of each one's hidden units.
  to->push_back({{B, B, B}, {S0, S0, S0}, {P}});
  to->push_back({{B, B, B}, {S1, S1, S2}, {P}});
}

void AddCandidates(const Operator& op, std::vector<Signature>* to) {
  AddElementwise(op, /*columns=*/false, to);
  Signature keys = Uniform(op, B);
  for (size_t i = 0; i < 3; ++i) {
    if (op.weights[i] >= 0) keys.weights[i] = S0;
  }
  keys.outputs = {S1, S1};
  to->push_back(keys);
}

}  // namespace

std::vector<Signature> Signatures(const Graph& graph, const Operator& op) {
  std::vector<Signature> s = {Uniform(op, B)};
  switch (op.kind) {
    case v1::EMBEDDING:
      AddElementwise(op, /*columns=*/false, &s);
      s.push_back({{}, {S0}, {P}});
      s.push_back({{}, {S1}, {S1}});
      break;
    case v1::LINEAR:
      AddLinear(op, &s);
      break;
    case v1::RMS_NORM:
    case v1::LAYER_NORM:
      AddNorm(graph, op, &s);
      break;
    case v1::SQUARE_SUM:
      AddElementwise(op, /*columns=*/false, &s);
      s.push_back({{S1, op.inputs[1] < 0 ? B : S1}, {}, {P}});
      break;
    case v1::ROPE:
    case v1::CLAMP:
    case v1::ACTIVATION:
      AddElementwise(op, /*columns=*/true, &s);
      break;
    case v1::KV_APPEND:
    case v1::ATTENTION:
      s.push_back(Uniform(op, S1));
      break;
    case v1::ADDITION:
      AddElementwise(op, /*columns=*/true, &s);
      s.push_back({{P, P}, {}, {P}});
      break;
    case v1::SELECT_ROWS:
      s.push_back(Uniform(op, S1));
      s.push_back(Uniform(op, P));
      break;
    case v1::PRODUCT_KEY_CANDIDATES:
      AddCandidates(op, &s);
      break;
    case v1::ROUTER:  // a choice among all: the row must be whole
    case v1::PRODUCT_KEY_SELECT:
      // Ranks with some of the keys merge their candidates before: PRODUCT_KEY_MERGE, a boxing.
      AddElementwise(op, /*columns=*/false, &s);
      break;
    case v1::ROW_GATE:
      s.push_back({{S0, S0}, {}, {S0}});
      s.push_back({{S1, B}, {}, {S1}});
      s.push_back({{P, B}, {}, {P}});
      break;
    case v1::EXPERTS:
      AddExperts(&s);
      break;
    case v1::VALUE_PREFETCH:
      AddElementwise(op, /*columns=*/false, &s);
      s.push_back({{B}, {S0}, {}});
      s.push_back({{B}, {S1}, {}});
      s.push_back({{S1}, {B}, {}});
      break;
    case v1::PRE_SCORE:
      AddElementwise(op, /*columns=*/false, &s);
      s.push_back({{B, B}, {S1}, {P}});
      break;
    case v1::VALUE_GATHER:
      AddGather(op, &s);
      break;
    default:
      break;
  }
  return s;
}

Signature Present(const Operator& op, const Signature& signature) {
  Signature present;
  for (const auto& [operands, from, to] :
       {std::tuple(&op.inputs, &signature.inputs, &present.inputs),
        std::tuple(&op.weights, &signature.weights, &present.weights),
        std::tuple(&op.outputs, &signature.outputs, &present.outputs)}) {
    for (size_t i = 0; i < operands->size(); ++i) {
      if ((*operands)[i] >= 0) to->push_back((*from)[i]);
    }
  }
  return present;
}

}  // namespace mneme::graph
