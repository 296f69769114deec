// The graph of an OLMo-style transformer with or without memory layers: UltraMemV2, UltraMem,
// Memory+ and dense (docs/models.md §1 and §2).
#ifndef MNEME_ENGINE_GRAPH_MEMORY_TRANSFORMER_H_
#define MNEME_ENGINE_GRAPH_MEMORY_TRANSFORMER_H_

#include "engine/graph/graph.h"
#include "engine/graph/graph_builder.h"
#include "loader/model/model_description.h"

namespace mneme::graph {

// REQUIRES: a description that loader/families has checked. Memory layers whose output is lost are
// not built. Traced tensors: "memory.<i>.grid", "memory.<i>.score", "memory.<i>.out".
Graph BuildMemoryTransformer(const loader::ModelDescription& model, WeightTypes types);

}  // namespace mneme::graph

#endif  // MNEME_ENGINE_GRAPH_MEMORY_TRANSFORMER_H_
