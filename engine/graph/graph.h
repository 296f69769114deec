// A model as a logical graph: operators over logical tensors, in an order in which they can run. No
// ranks, no buffers, no kernels. Built by one builder per architecture, consumed by engine/plan.
#ifndef MNEME_ENGINE_GRAPH_GRAPH_H_
#define MNEME_ENGINE_GRAPH_GRAPH_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "loader/model/weight_role.h"
#include "proto/mneme/v1/plan.pb.h"

namespace mneme::graph {

// An activation. Its rows are the step's tokens or the step's logit rows.
struct Tensor {
  std::string name;  // "block.3.ffn.up"
  v1::ElementType type = v1::F32;
  v1::Register::Rows rows = v1::Register::TOKENS;
  int64_t cols = 0;
  // The tensor whose memory this one continues (in-place operators), or -1.
  int32_t in_place_of = -1;
};

// A weight as the packer will deliver it.
struct Weight {
  loader::WeightId id;
  v1::ElementType type = v1::F32;
  int64_t rows = 0;
  int64_t cols = 0;
  // Index of the weight whose memory this one is (a tied head), or -1.
  int32_t shared_with = -1;
  bool value_table = false;
  int64_t row_bytes = 0;  // of a value table: the row with its padding
  // Matrices of rows/stack rows each, one on another (the experts' of a block); 0: one matrix.
  int64_t stack = 0;
};

struct Operator {
  std::string name;  // "block.3.ffn.up"
  v1::OperatorKind kind = v1::OPERATOR_KIND_UNSPECIFIED;
  v1::Attributes attributes;
  // Indices into Graph::tensors and Graph::weights; -1: an optional operand that is absent.
  std::vector<int32_t> inputs;
  std::vector<int32_t> outputs;
  std::vector<int32_t> weights;
  v1::Lane lane = v1::COMPUTE;
};

struct KvLayer {
  int32_t layer = 0;
  int32_t kv_heads = 0;
  int32_t head_dim = 0;
};

struct Graph {
  std::string architecture;
  std::vector<Tensor> tensors;
  std::vector<Weight> weights;
  std::vector<Operator> operators;
  std::vector<KvLayer> kv_layers;
  int32_t logits = -1;                   // the tensor that the schedule samples from
  std::map<std::string, int32_t> trace;  // tensors that `eval --trace` reads, by name
};

// clang-format off
// Operands by position. Inputs and outputs are tensors, weights are weights; [x] may be absent, * is
// in place. The step's token ids, positions, spans and logit rows are not operands: every rank has
// them.
//   operator               inputs                weights                       outputs
//   EMBEDDING                                    table                         y
//   LINEAR                 x                     w, [bias]                     y
//   RMS_NORM               x, [sums]             [weight], [bias]              y
//   LAYER_NORM             x                     [weight], [bias]              y
//   SQUARE_SUM             a, [b]                                              y
//   ROPE                   x                     cos, sin                      x*
//   CLAMP                  x                                                   x*
//   KV_APPEND              k, v
//   ATTENTION              q                                                   y
//   ACTIVATION             a, [gate]                                           y
//   ADDITION               a, b                                                y
//   SELECT_ROWS            x                                                   y (logit rows)
//   PRODUCT_KEY_CANDIDATES query                 keys, [inverse_norm], [mean], index, score
//                                                [norm_weight], [norm_bias],
//                                                [row_direction],
//                                                [column_direction]
//   PRODUCT_KEY_SELECT     index, score          [cores], [shuffle]            grid, score, slot,
//                                                                              group, [weight]
//   ROUTER                 logits                                              expert, weight
//   EXPERTS                x, expert, weight     gate, up, down                y
//   ROW_GATE               x, gate                                             y
//   VALUE_PREFETCH         slot                  table
//   VALUE_GATHER           slot, group, weight,  table                         y
//                          [pre_query],
//                          [pre_score]
//   PRE_SCORE              slot, pre_query       table                         y
// clang-format on

// Empty string, or what is wrong with the graph: an operand out of range, a tensor read before it
// is written or after another operator took its memory, a wrong number of operands, shapes that do
// not fit. The planner refuses such a graph: a wrong graph is our own bug.
std::string Validate(const Graph& graph);

}  // namespace mneme::graph

#endif  // MNEME_ENGINE_GRAPH_GRAPH_H_
