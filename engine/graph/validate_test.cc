#include <functional>
#include <string>

#include "engine/graph/graph.h"
#include "engine/graph/memory_transformer.h"
#include "engine/graph/test_models.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mneme::graph {
namespace {

using ::testing::HasSubstr;

class ValidateTest : public ::testing::Test {
 protected:
  Operator& Op(const std::string& name) {
    for (Operator& op : graph_.operators) {
      if (op.name == name) return op;
    }
    ADD_FAILURE() << "no operator " << name;
    return graph_.operators[0];
  }
  size_t Position(const std::string& name) { return &Op(name) - graph_.operators.data(); }
  Tensor& Output(const std::string& op, size_t i = 0) { return graph_.tensors[Op(op).outputs[i]]; }
  Weight& OpWeight(const std::string& op, size_t i = 0) {
    return graph_.weights[Op(op).weights[i]];
  }

  Graph graph_ = BuildMemoryTransformer(MemoryTestModel(1), Bf16Weights());
};

TEST_F(ValidateTest, TheBuildersGraphIsRight) { EXPECT_EQ(Validate(graph_), ""); }

TEST_F(ValidateTest, ReadsBeforeWrites) {
  std::swap(graph_.operators[0], graph_.operators[1]);
  EXPECT_THAT(Validate(graph_), HasSubstr("before it is written"));
}

TEST_F(ValidateTest, OperandsAreCounted) {
  graph_.operators[1].inputs.push_back(0);
  EXPECT_THAT(Validate(graph_), HasSubstr("RMS_NORM with 3 inputs"));
}

TEST_F(ValidateTest, OperandsThatMustBeThereAre) {
  Op("memory.0.gather").weights[0] = -1;
  EXPECT_EQ(Validate(graph_), "memory.0.gather: operand 5 of inputs, weights, outputs is absent");
}

TEST_F(ValidateTest, KeysAreStoredBeforeAttention) {
  graph_.operators.erase(graph_.operators.begin() +
                         static_cast<std::ptrdiff_t>(Position("block.0.kv_append")));
  EXPECT_THAT(Validate(graph_), HasSubstr("before its layer's keys"));
}

TEST_F(ValidateTest, LogitsAreWritten) {
  graph_.operators.pop_back();
  EXPECT_EQ(Validate(graph_), "the logits are never written");
}

TEST_F(ValidateTest, MemoryThatWentOnIsNotRead) {
  Op("block.0.attention").inputs[0] = Op("block.0.query.rope").inputs[0];
  EXPECT_THAT(Validate(graph_), HasSubstr("after its memory went on"));
}

TEST_F(ValidateTest, ATensorIsWrittenOnce) {
  Op("block.0.ffn.gate").outputs[0] = Op("block.0.ffn.up").outputs[0];
  EXPECT_THAT(Validate(graph_), HasSubstr("writes block.0.ffn.up a second time"));
}

// One wrong number in an operator of each kind.
TEST_F(ValidateTest, ShapesFitInEveryOperator) {
  const Graph good = graph_;
  const struct {
    std::function<void()> spoil;
    const char* error;
  } cases[] = {
      {[&] { Output("embedding").cols = 63; }, "embedding: y's columns is 63, must be 64"},
      {[&] { OpWeight("block.0.ffn.up").cols = 63; },
       "block.0.ffn.up: x's columns is 64, must be 63"},
      {[&] { OpWeight("block.0.ffn.up").rows = 100; },
       "block.0.ffn.up: y's columns is 128, must be 100"},
      {[&] { Op("block.0.attention_norm").attributes.mutable_norm()->set_width(60); },
       "block.0.attention_norm: x's columns modulo the width is 4, must be 0"},
      {[&] { Op("block.0.query.rope").attributes.mutable_rope()->set_head_dim(32); },
       "block.0.query.rope: rope_cos's columns is 8, must be 16"},
      {[&] { graph_.kv_layers[0].kv_heads = 2; },
       "block.0.kv_append: k or v's columns is 64, must be 32"},
      {[&] { Op("block.0.attention").attributes.mutable_attention()->set_heads(2); },
       "block.0.attention: heads modulo kv heads is 2, must be 0"},
      {[&] { Output("block.0.ffn.activation").cols = 64; },
       "block.0.ffn.activation: y's columns is 64, must be 128"},
      {[&] { Output("block.0.attention_residual").rows = v1::Register::LOGIT_ROWS; },
       "block.0.attention_residual: y's kind of rows is 1, must be 0"},
      {[&] { Output("logit_rows").cols = 65; }, "logit_rows: y's columns is 65, must be 64"},
      {[&] { Op("memory.0.candidates").attributes.mutable_candidates()->set_key_count(39); },
       "memory.0.candidates: memory.0.keys's rows is 80, must be 78"},
      {[&] { Output("memory.0.candidates").type = v1::F32; },
       "memory.0.candidates: index's type is 1, must be 3"},
      {[&] { Op("memory.0.select").attributes.mutable_select()->set_top_k(8); },
       "memory.0.select: index's columns is 32, must be 16"},
      {[&] { Op("memory.0.prefetch").attributes.mutable_gather()->set_selections(15); },
       "memory.0.prefetch: slot's columns is 16, must be 15"},
      {[&] { Op("memory.0.gather").inputs[3] = -1; },
       "memory.0.gather: a pre-query or pre-score is 0, must be 1"},
      {[&] { Op("memory.0.gather").attributes.mutable_gather()->set_expand_groups(4); },
       "memory.0.gather: y's columns is 32, must be 128"},
  };
  for (const auto& c : cases) {
    graph_ = good;
    c.spoil();
    EXPECT_EQ(Validate(graph_), c.error);
  }
}

TEST_F(ValidateTest, ShapesOfAMixtureOfExpertsFit) {
  loader::ModelDescription model = MoeTestModel(1);
  model.moe->shared_hidden = 48;
  const Graph good = BuildMemoryTransformer(model, Bf16Weights());
  const struct {
    std::function<void()> spoil;
    const char* error;
  } cases[] = {
      {[&] { Op("block.0.router").attributes.mutable_router()->set_top_k(9); },
       "block.0.router: top_k's being one of the experts is 0, must be 1"},
      {[&] { Op("block.0.router").attributes.mutable_router()->set_top_k(3); },
       "block.0.router: expert's columns is 2, must be 3"},
      {[&] { Output("block.0.router").type = v1::F32; },
       "block.0.router: expert's type is 1, must be 3"},
      {[&] { Output("block.0.router", 1).cols = 3; },
       "block.0.router: weight's columns is 3, must be 2"},
      {[&] { Op("block.0.experts").attributes.mutable_experts()->set_experts(7); },
       "block.0.experts: the number of stacked matrices is 8, must be 7"},
      {[&] { OpWeight("block.0.experts", 1).rows = 8 * 95; },
       "block.0.experts: block.0.expert_up's rows is 760, must be 768"},
      {[&] { OpWeight("block.0.experts", 2).rows = 8 * 63; },
       "block.0.experts: block.0.expert_down's rows is 504, must be 512"},
      {[&] { Output("block.0.experts").cols = 63; },
       "block.0.experts: y's columns is 63, must be 64"},
      {[&] { Op("block.0.shared").inputs[1] = Op("block.0.shared").inputs[0]; },
       "block.0.shared: gate's columns is 64, must be 1"},
      {[&] { Output("block.0.shared").cols = 32; },
       "block.0.shared: y's columns is 32, must be 64"},
      {[&] { Op("block.0.experts").weights[0] = -1; },
       "block.0.experts: operand 3 of inputs, weights, outputs is absent"},
  };
  for (const auto& c : cases) {
    graph_ = good;
    c.spoil();
    EXPECT_EQ(Validate(graph_), c.error);
  }
}

}  // namespace
}  // namespace mneme::graph
