// The SBP signatures that each operator declares: every way in which it may run on many ranks.
#ifndef MNEME_ENGINE_GRAPH_SIGNATURES_H_
#define MNEME_ENGINE_GRAPH_SIGNATURES_H_

#include <vector>

#include "engine/graph/graph.h"
#include "engine/graph/sbp.h"

namespace mneme::graph {

// The valid signatures of `op`, the all-broadcast one first. Absent optional operands are B.
// Axes: of an activation 0 is rows and 1 columns (heads, hidden units, selections); of a weight
// [out, in] 0 is out and 1 in; of a vector 1; of product keys 0 is the key index of each side; of a
// value table 0 is slots (block-cyclic) and 1 is columns; of stacked matrices 0 is which matrix, 1
// and 2 are the rows and columns of each.
std::vector<Signature> Signatures(const Graph& graph, const Operator& op);

// The signature without its entries for optional operands that are absent: as plans print it.
Signature Present(const Operator& op, const Signature& signature);

}  // namespace mneme::graph

#endif  // MNEME_ENGINE_GRAPH_SIGNATURES_H_
