// The other form of norms over the heads of a projection: their sums of squares are an operator of
// their own.
#ifndef MNEME_ENGINE_GRAPH_SQUARE_SUMS_H_
#define MNEME_ENGINE_GRAPH_SQUARE_SUMS_H_

#include "engine/graph/graph.h"

namespace mneme::graph {

// Whether a norm of `graph` spans all heads and sums its squares itself.
bool HasNormsOverHeads(const Graph& graph);

// `graph` with every such norm in two: a SQUARE_SUM "block.3.square_sum", which sums the squares of
// queries and keys, one column each, then the norms, which read them. For ranks that have some of
// the heads each: two numbers of a token go from rank to rank, where the norm by itself would need
// the whole of its row. On one rank it does the same in one pass.
Graph WithSquareSums(const Graph& graph);

}  // namespace mneme::graph

#endif  // MNEME_ENGINE_GRAPH_SQUARE_SUMS_H_
