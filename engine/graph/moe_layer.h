// The operators of a Mixture-of-Experts that stands where a block's FFN would.
#ifndef MNEME_ENGINE_GRAPH_MOE_LAYER_H_
#define MNEME_ENGINE_GRAPH_MOE_LAYER_H_

#include <cstdint>

#include "engine/graph/graph_builder.h"
#include "loader/model/model_description.h"

namespace mneme::graph {

// Router and experts of block `block` on its FFN input u. Returns their output [tokens, dim].
// Traced: "block.<i>.router.expert" (ascending ids) and "block.<i>.router.weight".
// REQUIRES: model.moe.
int32_t AddMoeLayer(const loader::ModelDescription& model, int32_t block, int32_t u,
                    GraphBuilder* builder);

}  // namespace mneme::graph

#endif  // MNEME_ENGINE_GRAPH_MOE_LAYER_H_
