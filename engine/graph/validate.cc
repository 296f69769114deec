#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/graph.h"
#include "engine/graph/shapes.h"

namespace mneme::graph {
namespace {

struct Arity {
  size_t inputs;
  size_t weights;
  size_t outputs;
};

Arity ArityOf(v1::OperatorKind kind) {
  switch (kind) {
    case v1::EMBEDDING:
      return {0, 1, 1};
    case v1::LINEAR:
    case v1::LAYER_NORM:
    case v1::ROPE:
      return {1, 2, 1};
    case v1::RMS_NORM:
      return {2, 2, 1};
    case v1::CLAMP:
    case v1::ATTENTION:
    case v1::SELECT_ROWS:
      return {1, 0, 1};
    case v1::KV_APPEND:
      return {2, 0, 0};
    case v1::ACTIVATION:
    case v1::ADDITION:
    case v1::ROW_GATE:
    case v1::SQUARE_SUM:
      return {2, 0, 1};
    case v1::PRODUCT_KEY_CANDIDATES:
      return {1, 7, 2};
    case v1::PRODUCT_KEY_SELECT:
      return {2, 2, 5};
    case v1::ROUTER:
      return {1, 0, 2};
    case v1::EXPERTS:
      return {3, 3, 1};
    case v1::VALUE_PREFETCH:
      return {1, 1, 0};
    case v1::PRE_SCORE:
      return {2, 1, 1};
    case v1::VALUE_GATHER:
      return {5, 1, 1};
    default:
      return {0, 0, 0};
  }
}

// Operands that may be absent, by position among inputs, weights and outputs together: the table in
// graph.h.
bool IsOptional(v1::OperatorKind kind, int operand) {
  switch (kind) {
    case v1::LINEAR:
      return operand == 2;
    case v1::RMS_NORM:
      return operand >= 1 && operand <= 3;
    case v1::LAYER_NORM:
      return operand == 1 || operand == 2;
    case v1::ACTIVATION:
    case v1::SQUARE_SUM:
      return operand == 1;
    case v1::PRODUCT_KEY_CANDIDATES:
      return operand >= 2 && operand <= 7;
    case v1::PRODUCT_KEY_SELECT:
      return operand == 2 || operand == 3 || operand == 8;
    case v1::VALUE_GATHER:
      return operand == 3 || operand == 4;
    default:
      return false;
  }
}

// The first operand that must be there and is not, or -1.
int MissingOperand(const Operator& op) {
  int operand = 0;
  for (const std::vector<int32_t>* operands : {&op.inputs, &op.weights, &op.outputs}) {
    for (const int32_t index : *operands) {
      if (index < 0 && !IsOptional(op.kind, operand)) return operand;
      ++operand;
    }
  }
  return -1;
}

// Walks the operators in order and holds what is known so far.
class Checker {
 public:
  explicit Checker(const Graph& graph)
      : graph_(graph), written_(graph.tensors.size()), taken_(graph.tensors.size()) {}

  std::string Run() {
    for (const Operator& op : graph_.operators) {
      if (const std::string error = Check(op); !error.empty()) {
        return absl::StrCat(op.name, ": ", error);
      }
    }
    if (!InRange(graph_.logits) || !written_[graph_.logits]) return "the logits are never written";
    for (const auto& [name, tensor] : graph_.trace) {
      if (!InRange(tensor) || !written_[tensor]) {
        return absl::StrCat("traced tensor ", name, " is never written");
      }
    }
    return "";
  }

 private:
  bool InRange(int32_t tensor) const {
    return tensor >= 0 && tensor < static_cast<int32_t>(graph_.tensors.size());
  }

  std::string Check(const Operator& op) {
    const Arity arity = ArityOf(op.kind);
    if (op.inputs.size() != arity.inputs || op.weights.size() != arity.weights ||
        op.outputs.size() != arity.outputs) {
      return absl::StrCat(v1::OperatorKind_Name(op.kind), " with ", op.inputs.size(), " inputs, ",
                          op.weights.size(), " weights, ", op.outputs.size(), " outputs");
    }
    for (int32_t input : op.inputs) {
      if (input < 0) continue;
      if (!InRange(input)) return absl::StrCat("input ", input, " does not exist");
      const std::string& name = graph_.tensors[input].name;
      if (!written_[input]) return absl::StrCat("reads ", name, " before it is written");
      if (taken_[input]) return absl::StrCat("reads ", name, " after its memory went on");
    }
    for (int32_t weight : op.weights) {
      if (weight >= static_cast<int32_t>(graph_.weights.size())) {
        return absl::StrCat("weight ", weight, " does not exist");
      }
    }
    if (const int missing = MissingOperand(op); missing >= 0) {
      return absl::StrCat("operand ", missing, " of inputs, weights, outputs is absent");
    }
    for (int32_t output : op.outputs) {
      if (output < 0) continue;
      if (!InRange(output)) return absl::StrCat("output ", output, " does not exist");
      const Tensor& tensor = graph_.tensors[output];
      if (written_[output]) return absl::StrCat("writes ", tensor.name, " a second time");
      written_[output] = true;
      if (tensor.in_place_of >= 0) taken_[tensor.in_place_of] = true;
    }
    if (const std::string error = CheckShapes(graph_, op); !error.empty()) return error;
    return CheckOrder(op);
  }

  // Attention reads what this layer's append stored.
  std::string CheckOrder(const Operator& op) {
    if (op.kind == v1::KV_APPEND) appended_.insert(op.attributes.kv_append().layer());
    if (op.kind == v1::ATTENTION && !appended_.count(op.attributes.attention().layer())) {
      return "runs before its layer's keys and values are stored";
    }
    return "";
  }

  const Graph& graph_;
  std::vector<bool> written_;
  std::vector<bool> taken_;
  std::set<int32_t> appended_;
};

}  // namespace

std::string Validate(const Graph& graph) { return Checker(graph).Run(); }

}  // namespace mneme::graph
