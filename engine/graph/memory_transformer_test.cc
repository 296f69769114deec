#include "engine/graph/memory_transformer.h"

#include <algorithm>
#include <string>
#include <vector>

#include "engine/graph/test_models.h"
#include "gtest/gtest.h"

namespace mneme::graph {
namespace {

int Position(const Graph& graph, const std::string& name) {
  for (size_t i = 0; i < graph.operators.size(); ++i) {
    if (graph.operators[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

TEST(MemoryTransformerTest, EveryVariantIsAValidGraph) {
  EXPECT_EQ(Validate(BuildMemoryTransformer(DenseTestModel(3), Bf16Weights())), "");
  EXPECT_EQ(Validate(BuildMemoryTransformer(MemoryTestModel(3), Bf16Weights())), "");
  loader::ModelDescription model = MemoryTestModel(3);
  model.norm_after = true;
  model.tied_head = false;
  model.head_bias = true;
  model.embedding_norm = loader::NormDescription{};
  model.attention.clip_qkv = 2.0f;
  model.attention.qkv_bias = true;
  model.ffn.activation = loader::Activation::kGelu;
  model.memory->pre_value_dim = 0;
  model.memory->gated = true;
  model.memory->kind = loader::MemoryKind::kMemoryPlus;
  model.memory->keys_norm.reset();
  model.memory->rank = 1;
  model.memory->cores = 1;
  EXPECT_EQ(Validate(BuildMemoryTransformer(model, Bf16Weights())), "");
}

TEST(MemoryTransformerTest, ASkippedMemoryIsGatheredInTheBlockThatAddsIt) {
  loader::ModelDescription model = MemoryTestModel(3);
  model.memory->layers = {{0, 2, false}};
  const Graph graph = BuildMemoryTransformer(model, Bf16Weights());
  EXPECT_EQ(Validate(graph), "");
  EXPECT_LT(Position(graph, "memory.0.select"), Position(graph, "block.0.ffn.up"));
  EXPECT_GT(Position(graph, "memory.0.prefetch"), Position(graph, "block.2.attention"));
  EXPECT_LT(Position(graph, "memory.0.prefetch"), Position(graph, "block.2.ffn.up"));
  EXPECT_GT(Position(graph, "memory.0.gather"), Position(graph, "block.2.ffn.down"));
}

TEST(MemoryTransformerTest, ALostMemoryIsNotBuilt) {
  loader::ModelDescription model = MemoryTestModel(5);
  model.memory->layers = {{0, 2, true}, {1, 3, true}, {3, 4, false}};
  const Graph graph = BuildMemoryTransformer(model, Bf16Weights());
  EXPECT_EQ(Position(graph, "memory.0.query"), -1);
  EXPECT_EQ(Position(graph, "memory.1.query"), -1);
  EXPECT_NE(Position(graph, "memory.2.query"), -1);
  EXPECT_EQ(graph.trace.count("memory.0.out"), 0u);
  EXPECT_EQ(graph.trace.count("memory.2.out"), 1u);
  const Operator& select = graph.operators[Position(graph, "memory.2.select")];
  EXPECT_EQ(select.attributes.select().offset(), 800);
}

TEST(MemoryTransformerTest, ATiedHeadUsesTheEmbeddingsMemory) {
  const Graph graph = BuildMemoryTransformer(DenseTestModel(1), Bf16Weights());
  const Weight& head = graph.weights[graph.operators.back().weights[0]];
  ASSERT_GE(head.shared_with, 0);
  EXPECT_EQ(graph.weights[head.shared_with].id.role, loader::Role::kEmbedding);
}

}  // namespace
}  // namespace mneme::graph
