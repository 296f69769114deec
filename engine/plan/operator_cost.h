// What operators, exchanges and weights cost on the fullest rank. An operator takes
// max(bytes / bandwidth + rows · latency, arithmetic / peak). Where data decide how much a rank
// has to do (rows of a split table), the fullest rank is the expected maximum, not the mean.
//
// A new kind of operator is one case in Pricing::WorkOf.
#ifndef MNEME_ENGINE_PLAN_OPERATOR_COST_H_
#define MNEME_ENGINE_PLAN_OPERATOR_COST_H_

#include <cstdint>

#include "engine/graph/graph.h"
#include "engine/plan/cost_model.h"
#include "engine/plan/expected_load.h"
#include "engine/plan/grid.h"

namespace mneme::plan {

// What one rank does for an operator.
struct Work {
  double bytes = 0;      // in address order
  Load rows;             // random rows, or experts
  double row_bytes = 0;  // of each
  // Multiply-adds: of so many weights with so many rows of activations.
  bool bf16 = false;
  double weights = 0;
  double weight_rows = 0;
};

struct Price {
  double seconds = 0;       // of the fullest rank, expected
  double mean_seconds = 0;  // of the mean rank: less where data decide
  double bytes = 0;         // read, expected, of the fullest rank
};

// The layout of a tensor, a letter per axis.
using GridLayout = std::array<graph::Sbp, 2>;

// An exchange of a tensor over one axis: an all-reduce (P to B), a reduce-scatter (P to S(1) or
// S(0)) or an all-gather (S(1) or S(0) to B).
struct Transfer {
  int axis = kInner;
  graph::Sbp from;
  graph::Sbp to;
  graph::Sbp other;  // its letter on the other axis at that time
};

// Prices of one graph on one grid for one kind of step. Keeps references.
class Pricing {
 public:
  Pricing(const graph::Graph& graph, const GridPartition& partition, const CostModel& cost,
          const StepShape& step)
      : graph_(graph), partition_(partition), cost_(cost), step_(step) {}

  Price PriceOf(const graph::Operator& op, const GridSignature& s) const;
  Work WorkOf(const graph::Operator& op, const GridSignature& s) const;

  // Product-key candidates are merged, indices and scores in one exchange: the latter pay for it.
  double ExchangeSeconds(int32_t tensor, const Transfer& transfer) const;
  // Bytes that a rank sends for it.
  double ExchangeBytes(int32_t tensor, const Transfer& transfer) const;

  // The part of a weight that the fullest rank has.
  double WeightShare(const graph::Operator& op, const GridSignature& s, int operand) const;
  double WeightBytes(int32_t weight) const;
  // The part of a layer's KV cache that the fullest rank keeps, by the layout of its keys.
  double CacheShare(const graph::Operator& append, const GridLayout& keys) const;

  const CostModel& cost() const { return cost_; }
  const GridPartition& partition() const { return partition_; }

 private:
  double Rows(int32_t tensor) const;
  // Of an operator on all rows of the step.
  Work WorkOnRows(const graph::Operator& op, const GridSignature& s) const;
  double Share(int32_t tensor, const GridLayout& layout) const;
  // Of a weight, by its splits along one of its axes, on one axis of the grid or on both.
  double ShareAlong(const graph::Operator& op, const GridSignature& s, int operand,
                    int weight_axis) const;
  void Attention(const graph::Operator& op, const GridSignature& s, Work* work) const;
  void Gather(const graph::Operator& op, const GridSignature& s, Work* work) const;
  void Experts(const graph::Operator& op, const GridSignature& s, Work* work) const;

  const graph::Graph& graph_;
  const GridPartition& partition_;
  const CostModel& cost_;
  const StepShape step_;
};

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_OPERATOR_COST_H_
