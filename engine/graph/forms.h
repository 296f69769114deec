// The forms of one model's graph: the same function with other operators, between which the planner
// chooses.
#ifndef MNEME_ENGINE_GRAPH_FORMS_H_
#define MNEME_ENGINE_GRAPH_FORMS_H_

#include <vector>

#include "engine/graph/graph.h"

namespace mneme::graph {

// `graph` first, then it with what it fuses in operators of their own, in all combinations
// (pre_scores.h, square_sums.h). More than one only for layouts over several ranks.
std::vector<Graph> Forms(const Graph& graph);

}  // namespace mneme::graph

#endif  // MNEME_ENGINE_GRAPH_FORMS_H_
