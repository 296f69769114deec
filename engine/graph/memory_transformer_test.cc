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
  EXPECT_EQ(Validate(BuildMemoryTransformer(MoeTestModel(3), Bf16Weights())), "");
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

TEST(MemoryTransformerTest, AMixtureOfExpertsStandsInPlaceOfTheFfn) {
  const Graph graph = BuildMemoryTransformer(MoeTestModel(2), Bf16Weights());
  EXPECT_EQ(Position(graph, "block.0.ffn.up"), -1);
  const int experts = Position(graph, "block.1.experts");
  ASSERT_GE(experts, 0);
  const Operator& op = graph.operators[experts];
  // On the norm's output, added to the residual.
  EXPECT_EQ(graph.tensors[op.inputs[0]].name, "block.1.ffn_norm");
  EXPECT_EQ(graph.operators[experts + 1].name, "block.1.ffn_residual");
  EXPECT_EQ(graph.operators[experts + 1].inputs[1], op.outputs[0]);
  const Weight& down = graph.weights[op.weights[2]];
  EXPECT_EQ(loader::WeightName(down.id), "block.1.expert_down");
  EXPECT_EQ(down.stack, 8);
  EXPECT_EQ(down.rows, 8 * 64);
  EXPECT_EQ(down.cols, 96);
}

TEST(MemoryTransformerTest, ExpertsMayHaveASharedOneAndSomeBlocksNone) {
  loader::ModelDescription model = MoeTestModel(3);
  model.moe->shared_hidden = 48;
  model.moe->dense_blocks = {1};
  model.ffn.hidden = 128;
  const Graph graph = BuildMemoryTransformer(model, Bf16Weights());
  EXPECT_EQ(Validate(graph), "");
  EXPECT_EQ(Position(graph, "block.1.experts"), -1);
  EXPECT_EQ(Position(graph, "block.1.shared"), -1);
  const Operator& dense = graph.operators[Position(graph, "block.1.ffn.up")];
  EXPECT_EQ(graph.weights[dense.weights[0]].rows, 128);
  const Operator& shared = graph.operators[Position(graph, "block.2.ffn.up")];
  EXPECT_EQ(graph.weights[shared.weights[0]].rows, 48);
  EXPECT_EQ(graph.tensors[shared.inputs[0]].name, "block.2.ffn_norm");
  const int gate = Position(graph, "block.2.shared");
  EXPECT_EQ(graph.tensors[graph.operators[gate].inputs[0]].name, "block.2.ffn.down");
  EXPECT_EQ(graph.tensors[graph.operators[gate].inputs[1]].name, "block.2.shared_gate");
  EXPECT_EQ(graph.operators[gate + 1].name, "block.2.experts_and_shared");
}

// Projection, norm over the whole width, clamp, rotation; the value has only the clamp.
TEST(MemoryTransformerTest, TheClampMayComeAfterANormOfTheWholeWidth) {
  loader::ModelDescription model = MoeTestModel(1);
  const Graph graph = BuildMemoryTransformer(model, Bf16Weights());
  for (const std::string name : {"block.0.query", "block.0.key"}) {
    const int norm = Position(graph, name + ".norm");
    EXPECT_EQ(graph.operators[norm].attributes.norm().width(), 64);
    EXPECT_EQ(graph.weights[graph.operators[norm].weights[0]].cols, 64);
    EXPECT_LT(Position(graph, name), norm);
    EXPECT_EQ(Position(graph, name + ".clamp"), norm + 1);
    EXPECT_EQ(Position(graph, name + ".rope"), norm + 2);
  }
  EXPECT_EQ(Position(graph, "block.0.value.clamp"), Position(graph, "block.0.value") + 1);
  model.attention.clip_after_norm = false;
  const Graph before = BuildMemoryTransformer(model, Bf16Weights());
  EXPECT_EQ(Position(before, "block.0.query.clamp"), Position(before, "block.0.query") + 1);
}

TEST(MemoryTransformerTest, EachBlockHasItsWindow) {
  loader::ModelDescription model = MoeTestModel(3);
  model.attention.windows = {9, 0, 16};
  const Graph graph = BuildMemoryTransformer(model, Bf16Weights());
  for (int block = 0; block < 3; ++block) {
    const std::string name = "block." + std::to_string(block) + ".attention";
    EXPECT_EQ(graph.operators[Position(graph, name)].attributes.attention().window(),
              model.attention.windows[block]);
  }
}

TEST(MemoryTransformerTest, ATiedHeadUsesTheEmbeddingsMemory) {
  const Graph graph = BuildMemoryTransformer(DenseTestModel(1), Bf16Weights());
  const Weight& head = graph.weights[graph.operators.back().weights[0]];
  ASSERT_GE(head.shared_with, 0);
  EXPECT_EQ(graph.weights[head.shared_with].id.role, loader::Role::kEmbedding);
}

}  // namespace
}  // namespace mneme::graph
