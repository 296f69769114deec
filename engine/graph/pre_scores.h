// The other form of memory layers with pre-values: their pre-scores are an operator of their own.
#ifndef MNEME_ENGINE_GRAPH_PRE_SCORES_H_
#define MNEME_ENGINE_GRAPH_PRE_SCORES_H_

#include "engine/graph/graph.h"

namespace mneme::graph {

// Whether a gather of `graph` computes pre-scores.
bool HasFusedPreScores(const Graph& graph);

// `graph` with every such gather in two: a PRE_SCORE "memory.3.pre_score", then the gather, which
// reads it. For ranks that have some columns of the table each, whose pre-scores are summed before
// the gather uses them; on one rank, or with other splits, the fused operator does the same with
// one pass over the rows and no exchange in between.
Graph WithPreScores(const Graph& graph);

}  // namespace mneme::graph

#endif  // MNEME_ENGINE_GRAPH_PRE_SCORES_H_
