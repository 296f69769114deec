// The operators of one memory layer, in the two halves between which it can wait: Select reads the
// block's FFN input and settles which rows of the value table are needed; Gather reads them.
#ifndef MNEME_ENGINE_GRAPH_MEMORY_LAYER_H_
#define MNEME_ENGINE_GRAPH_MEMORY_LAYER_H_

#include <string>

#include "engine/graph/graph_builder.h"
#include "loader/model/model_description.h"

namespace mneme::graph {

class MemoryLayer {
 public:
  // The memory layer with index `layer` of `model`, which has memory layers.
  MemoryLayer(const loader::ModelDescription& model, int32_t layer, GraphBuilder* builder);

  // Query, product-key scores, top-k, addresses, and what else depends on u (pre-query, gate).
  void Select(int32_t u);
  // Starts to bring the selected rows into the cache. Place it where other work follows.
  void Prefetch();
  // The gather, the gate and the output projection. Returns the layer's output [tokens, dim].
  int32_t Gather();

 private:
  std::string Name(const char* part) const { return prefix_ + part; }
  loader::WeightId Id(loader::Role role) const { return {role, layer_}; }
  int32_t Candidates(int32_t query, int32_t* score);

  const loader::ModelDescription& model_;
  const loader::MemoryDescription& memory_;
  const int32_t layer_;
  const std::string prefix_;
  GraphBuilder& builder_;
  int32_t table_ = -1;
  int32_t slot_ = -1;
  int32_t group_ = -1;
  int32_t weight_ = -1;
  int32_t pre_query_ = -1;
  int32_t gate_ = -1;
};

}  // namespace mneme::graph

#endif  // MNEME_ENGINE_GRAPH_MEMORY_LAYER_H_
