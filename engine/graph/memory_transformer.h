// The graph of a decoder-only transformer whose blocks have an FFN or a Mixture-of-Experts, with or
// without memory layers beside them: UltraMemV2, UltraMem, Memory+, dense models, and the
// Mixture-of-Experts families (docs/models.md §1, §2 and §4).
#ifndef MNEME_ENGINE_GRAPH_MEMORY_TRANSFORMER_H_
#define MNEME_ENGINE_GRAPH_MEMORY_TRANSFORMER_H_

#include "engine/graph/graph.h"
#include "engine/graph/graph_builder.h"
#include "loader/model/model_description.h"

namespace mneme::graph {

// REQUIRES: a description that loader/families has checked. Memory layers whose output is lost are
// not built. Traced tensors: "memory.<i>.grid", "memory.<i>.score", "memory.<i>.out",
// "block.<i>.router.expert", "block.<i>.router.weight".
Graph BuildMemoryTransformer(const loader::ModelDescription& model, WeightTypes types);

}  // namespace mneme::graph

#endif  // MNEME_ENGINE_GRAPH_MEMORY_TRANSFORMER_H_
