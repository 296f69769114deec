// Whether an operator's operands and attributes fit each other. A part of Validate.
#ifndef MNEME_ENGINE_GRAPH_SHAPES_H_
#define MNEME_ENGINE_GRAPH_SHAPES_H_

#include <string>

#include "engine/graph/graph.h"

namespace mneme::graph {

// Empty, or what does not fit, with the values. REQUIRES: the operator has the operands of its
// kind, all of them exist.
std::string CheckShapes(const Graph& graph, const Operator& op);

}  // namespace mneme::graph

#endif  // MNEME_ENGINE_GRAPH_SHAPES_H_
