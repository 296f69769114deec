#include "engine/graph/graph_builder.h"

#include <utility>

#include "engine/graph/element_bytes.h"

namespace mneme::graph {
namespace {

constexpr int64_t kTableRowAlignment = 64;

}  // namespace

GraphBuilder::GraphBuilder(std::string architecture, WeightTypes types) : types_(std::move(types)) {
  graph_.architecture = std::move(architecture);
}

int32_t GraphBuilder::AddWeight(Weight weight) {
  const auto [it, inserted] =
      by_id_.emplace(weight.id, static_cast<int32_t>(graph_.weights.size()));
  if (inserted) graph_.weights.push_back(weight);
  return it->second;
}

int32_t GraphBuilder::Matrix(loader::WeightId id, int64_t rows, int64_t cols) {
  return AddWeight({.id = id, .type = types_(id), .rows = rows, .cols = cols});
}

int32_t GraphBuilder::Vector(loader::WeightId id, int64_t size) {
  return Constant(id, v1::F32, 1, size);
}

int32_t GraphBuilder::Constant(loader::WeightId id, v1::ElementType type, int64_t rows,
                               int64_t cols) {
  return AddWeight({.id = id, .type = type, .rows = rows, .cols = cols});
}

int32_t GraphBuilder::Table(loader::WeightId id, int64_t rows, int64_t pre_width, int64_t width) {
  const v1::ElementType type = types_(id);
  const int64_t bytes = (pre_width + width) * ElementBytes(type);
  const int64_t padded = (bytes + kTableRowAlignment - 1) / kTableRowAlignment * kTableRowAlignment;
  return AddWeight({.id = id,
                    .type = type,
                    .rows = rows,
                    .cols = pre_width + width,
                    .value_table = true,
                    .row_bytes = padded});
}

int32_t GraphBuilder::Stack(loader::WeightId id, int64_t count, int64_t rows, int64_t cols) {
  return AddWeight(
      {.id = id, .type = types_(id), .rows = count * rows, .cols = cols, .stack = count});
}

int32_t GraphBuilder::Shared(loader::WeightId id, int32_t weight) {
  Weight shared = graph_.weights[weight];
  shared.id = id;
  shared.shared_with = weight;
  return AddWeight(shared);
}

int32_t GraphBuilder::NewTensor(std::string name, int64_t cols, v1::ElementType type,
                                v1::Register::Rows rows) {
  graph_.tensors.push_back({std::move(name), type, rows, cols, -1});
  return static_cast<int32_t>(graph_.tensors.size()) - 1;
}

int32_t GraphBuilder::Continue(std::string name, int32_t tensor) {
  Tensor continued = graph_.tensors[tensor];
  continued.name = std::move(name);
  continued.in_place_of = tensor;
  graph_.tensors.push_back(std::move(continued));
  return static_cast<int32_t>(graph_.tensors.size()) - 1;
}

Operator& GraphBuilder::Add(std::string name, v1::OperatorKind kind, std::vector<int32_t> inputs,
                            std::vector<int32_t> weights, std::vector<int32_t> outputs) {
  Operator op;
  op.name = std::move(name);
  op.kind = kind;
  op.inputs = std::move(inputs);
  op.weights = std::move(weights);
  op.outputs = std::move(outputs);
  op.lane = lane_;
  graph_.operators.push_back(std::move(op));
  return graph_.operators.back();
}

int32_t GraphBuilder::Linear(const std::string& name, int32_t x, int32_t weight, int32_t bias,
                             float scale) {
  const int32_t y = NewTensor(name, graph_.weights[weight].rows, v1::F32, graph_.tensors[x].rows);
  Add(name, v1::LINEAR, {x}, {weight, bias}, {y}).attributes.mutable_linear()->set_scale(scale);
  return y;
}

int32_t GraphBuilder::Norm(const std::string& name, const loader::NormDescription& norm, int32_t x,
                           int64_t width, int32_t weight, int32_t bias) {
  const int32_t y = NewTensor(name, cols(x), v1::F32, graph_.tensors[x].rows);
  const v1::OperatorKind kind = norm.kind == loader::NormKind::kRms ? v1::RMS_NORM : v1::LAYER_NORM;
  v1::Attributes::Norm* attributes =
      Add(name, kind, kind == v1::RMS_NORM ? std::vector<int32_t>{x, -1} : std::vector<int32_t>{x},
          {weight, bias}, {y})
          .attributes.mutable_norm();
  attributes->set_width(width);
  attributes->set_eps(norm.eps);
  return y;
}

int32_t GraphBuilder::Add(const std::string& name, int32_t a, int32_t b) {
  const int32_t y = NewTensor(name, cols(a), v1::F32, graph_.tensors[a].rows);
  Add(name, v1::ADDITION, {a, b}, {}, {y});
  return y;
}

}  // namespace mneme::graph
