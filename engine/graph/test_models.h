// Small model descriptions for the tests of graph and plan.
#ifndef MNEME_ENGINE_GRAPH_TEST_MODELS_H_
#define MNEME_ENGINE_GRAPH_TEST_MODELS_H_

#include "engine/graph/graph_builder.h"
#include "loader/model/model_description.h"

namespace mneme::graph {

// `layers` blocks of width 64 with 4 heads, a SwiGLU FFN of 128, 256 tokens; tied, RMS norms.
loader::ModelDescription DenseTestModel(int64_t layers);

// The same with an UltraMemV2 memory layer in every block: 16 selections of one head, 1600 slots.
loader::ModelDescription MemoryTestModel(int64_t layers);

// The dense one with a Mixture-of-Experts as OLMoE has it: 8 experts of 96 hidden units, 2 for each
// token; q and k normed over their whole width, then clamped.
loader::ModelDescription MoeTestModel(int64_t layers);

// Every matrix in bf16.
WeightTypes Bf16Weights();

}  // namespace mneme::graph

#endif  // MNEME_ENGINE_GRAPH_TEST_MODELS_H_
