// How weights are cut where they are split over ranks: the parts that partition.h keeps, and what a
// signature makes of them.
#ifndef MNEME_ENGINE_PLAN_WEIGHT_PARTS_H_
#define MNEME_ENGINE_PLAN_WEIGHT_PARTS_H_

#include <cstdint>
#include <vector>

#include "engine/graph/graph.h"
#include "engine/graph/sbp.h"
#include "engine/plan/partition.h"

namespace mneme::plan {

// Of every weight of the graph. REQUIRES: the parts of the graph's tensors are known.
std::vector<WeightParts> CutWeights(const graph::Graph& graph, const Partition& partition);

// One operand of an operator under a signature that splits it.
struct WeightSplit {
  Parts parts;  // empty: it cannot be split so, unless block says otherwise
  Parts pre_parts;
  int64_t chunks = 1;
  int64_t block = 0;

  bool possible() const { return block > 0 || !parts.empty(); }
};

// REQUIRES: signature.weights[operand] is a split.
WeightSplit SplitOf(const graph::Operator& op, const graph::Signature& signature, size_t operand,
                    const Partition& partition);

// What the fullest rank has of an operand's weight, of 1.
double FullestShare(const graph::Graph& graph, const graph::Operator& op,
                    const graph::Signature& signature, size_t operand, const Partition& partition);

// Whether operators of this kind read a value table, weights[0], at selections, inputs[0].
bool ReadsTable(v1::OperatorKind kind);

// Whose memory the weight is: its own or another's.
int32_t WeightOwner(const graph::Graph& graph, int32_t weight);

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_WEIGHT_PARTS_H_
