// Helps the architecture builders: makes tensors, weights and operators and keeps their names and
// shapes consistent. One line of a builder reads like one line of the model.
#ifndef MNEME_ENGINE_GRAPH_GRAPH_BUILDER_H_
#define MNEME_ENGINE_GRAPH_GRAPH_BUILDER_H_

#include <functional>
#include <initializer_list>
#include <map>
#include <string>
#include <vector>

#include "engine/graph/graph.h"
#include "loader/model/model_description.h"
#include "loader/model/weight_role.h"

namespace mneme::graph {

// The element type in which the packer delivers a matrix, keys or a value table.
using WeightTypes = std::function<v1::ElementType(const loader::WeightId&)>;

class GraphBuilder {
 public:
  // While it lives, operators are added to this lane instead of the compute lane.
  class InLane {
   public:
    InLane(GraphBuilder* builder, v1::Lane lane) : builder_(*builder) { builder_.lane_ = lane; }
    ~InLane() { builder_.lane_ = v1::COMPUTE; }
    InLane(const InLane&) = delete;
    InLane& operator=(const InLane&) = delete;

   private:
    GraphBuilder& builder_;
  };

  GraphBuilder(std::string architecture, WeightTypes types);

  // A weight of its own memory; the same id again gives the same weight.
  // Matrix: in the packer's type. Vector: f32, one row of `size`.
  int32_t Matrix(loader::WeightId id, int64_t rows, int64_t cols);
  int32_t Vector(loader::WeightId id, int64_t size);
  int32_t Constant(loader::WeightId id, v1::ElementType type, int64_t rows, int64_t cols);
  // A value table of rows x (pre_width + width), its rows padded to 64 bytes.
  int32_t Table(loader::WeightId id, int64_t rows, int64_t pre_width, int64_t width);
  // `count` matrices of rows x cols in the packer's type, one on another.
  int32_t Stack(loader::WeightId id, int64_t count, int64_t rows, int64_t cols);
  // `id` in the memory of `weight`.
  int32_t Shared(loader::WeightId id, int32_t weight);

  int32_t NewTensor(std::string name, int64_t cols, v1::ElementType type = v1::F32,
                    v1::Register::Rows rows = v1::Register::TOKENS);
  // The tensor that an in-place operator on `tensor` gives.
  int32_t Continue(std::string name, int32_t tensor);
  Operator& Add(std::string name, v1::OperatorKind kind, std::vector<int32_t> inputs,
                std::vector<int32_t> weights, std::vector<int32_t> outputs);

  // Operators that several architectures use. Each returns its output tensor.
  int32_t Linear(const std::string& name, int32_t x, int32_t weight, int32_t bias = -1,
                 float scale = 1.0f);
  // Over chunks of `width`; weight and bias may be -1.
  int32_t Norm(const std::string& name, const loader::NormDescription& norm, int32_t x,
               int64_t width, int32_t weight, int32_t bias);
  int32_t Add(const std::string& name, int32_t a, int32_t b);

  int64_t cols(int32_t tensor) const { return graph_.tensors[tensor].cols; }
  Graph& graph() { return graph_; }
  Graph Finish() && { return std::move(graph_); }

 private:
  int32_t AddWeight(Weight weight);

  Graph graph_;
  WeightTypes types_;
  v1::Lane lane_ = v1::COMPUTE;
  std::map<loader::WeightId, int32_t> by_id_;
};

}  // namespace mneme::graph

#endif  // MNEME_ENGINE_GRAPH_GRAPH_BUILDER_H_
