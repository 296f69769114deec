#include "engine/plan/planner.h"

#include <algorithm>
#include <limits>
#include <random>
#include <string>

#include "engine/graph/memory_transformer.h"
#include "engine/graph/test_models.h"
#include "gtest/gtest.h"

namespace mneme::plan {
namespace {

using graph::Graph;
using graph::Sbp;
using graph::Signature;

Graph SmallGraph() {
  return graph::BuildMemoryTransformer(graph::MemoryTestModel(2), graph::Bf16Weights());
}

struct Random {
  std::mt19937 random;
  int64_t Below(int64_t n) { return static_cast<int64_t>(random() % static_cast<uint64_t>(n)); }
};

// A chain of linear operators, activations and sums with skips, over a few tensors.
Graph RandomGraph(Random& random) {
  Graph graph;
  const auto tensor = [&](int64_t cols) {
    graph.tensors.push_back(
        {"t" + std::to_string(graph.tensors.size()), v1::F32, v1::Register::TOKENS, cols, -1});
    return static_cast<int32_t>(graph.tensors.size()) - 1;
  };
  const auto weight = [&](int64_t rows, int64_t cols) {
    graph.weights.push_back({{loader::Role::kFfnUp, static_cast<int32_t>(graph.weights.size())},
                             v1::F32,
                             rows,
                             cols,
                             -1,
                             false,
                             0});
    return static_cast<int32_t>(graph.weights.size()) - 1;
  };
  const auto add = [&](v1::OperatorKind kind, std::vector<int32_t> in, std::vector<int32_t> out,
                       std::vector<int32_t> weights) {
    graph::Operator op;
    op.name = "op" + std::to_string(graph.operators.size());
    op.kind = kind;
    op.inputs = std::move(in);
    op.outputs = std::move(out);
    op.weights = std::move(weights);
    graph.operators.push_back(op);
  };
  int32_t x = tensor(256);
  add(v1::EMBEDDING, {}, {x}, {weight(100, 256)});
  std::vector<int32_t> same = {x};  // of 256 columns
  const int64_t operators = 3 + random.Below(3);
  for (int64_t i = 0; i < operators; ++i) {
    const int32_t from = same[random.Below(static_cast<int64_t>(same.size()))];
    const int64_t what = random.Below(3);
    if (what == 0) {
      const int32_t y = tensor(256);
      add(v1::LINEAR, {x}, {y}, {weight(256, 256), random.Below(3) == 0 ? weight(1, 256) : -1});
      x = y;
    } else if (what == 1) {
      const int32_t y = tensor(256);
      add(v1::ADDITION, {x, from}, {y}, {});
      x = y;
    } else {
      const int32_t y = tensor(256);
      add(v1::ACTIVATION, {x, random.Below(2) == 0 ? from : -1}, {y}, {});
      x = y;
    }
    same.push_back(x);
  }
  graph.logits = x;
  return graph;
}

Choice Choose(const Graph& graph, const Partition& partition, const CostModel& cost) {
  return *ChooseSignatures(graph, partition, cost, RunnableSignatures(graph, partition));
}

double BruteForce(const Graph& graph, const Partition& partition, const CostModel& cost,
                  std::vector<Signature>* chosen) {
  if (chosen->size() == graph.operators.size()) {
    return ModelledSeconds(graph, partition, cost, *chosen);
  }
  double least = std::numeric_limits<double>::infinity();
  for (const Signature& s : RunnableSignatures(graph, partition, graph.operators[chosen->size()])) {
    chosen->push_back(s);
    least = std::min(least, BruteForce(graph, partition, cost, chosen));
    chosen->pop_back();
  }
  return least;
}

TEST(PlannerTest, NoChoiceIsBetter) {
  Random random{std::mt19937(7)};
  int splits = 0;
  for (int round = 0; round < 300; ++round) {
    const Graph graph = RandomGraph(random);
    const Partition partition(graph, 1 + static_cast<int32_t>(random.Below(4)));
    CostModel cost;
    // 256 KB take 10 us: exchanges that cost nothing, something, and too much.
    cost.exchange_seconds = 5e-6 * static_cast<double>(random.Below(4));
    cost.exchange_seconds_per_rank = 0;
    const Choice choice = Choose(graph, partition, cost);
    std::vector<Signature> chosen;
    const double least = BruteForce(graph, partition, cost, &chosen);
    ASSERT_NEAR(choice.seconds, least, 1e-12) << round;
    ASSERT_NEAR(ModelledSeconds(graph, partition, cost, choice.signatures), least, 1e-12) << round;
    for (size_t i = 0; i < graph.operators.size(); ++i) {
      splits += choice.signatures[i] != RunnableSignatures(graph, partition, graph.operators[i])[0];
    }
  }
  EXPECT_GT(splits, 200);
}

// Planning is part of every start.
TEST(PlannerTest, ManyLayersAndRanksArePlannedSoon) {
  const Graph graph =
      graph::BuildMemoryTransformer(graph::MemoryTestModel(64), graph::Bf16Weights());
  for (int32_t ranks : {2, 3, 4, 64}) {
    const Partition partition(graph, ranks);
    const Choice choice = Choose(graph, partition, {});
    EXPECT_NEAR(ModelledSeconds(graph, partition, {}, choice.signatures), choice.seconds, 1e-9);
  }
}

TEST(PlannerTest, OneRankSplitsNothing) {
  const Graph graph = SmallGraph();
  const Choice choice = Choose(graph, Partition(graph, 1), {});
  for (size_t i = 0; i < graph.operators.size(); ++i) {
    for (Sbp sbp : choice.signatures[i].inputs) EXPECT_EQ(sbp, Sbp::B());
    for (Sbp sbp : choice.signatures[i].weights) EXPECT_EQ(sbp, Sbp::B());
    for (Sbp sbp : choice.signatures[i].outputs) EXPECT_EQ(sbp, Sbp::B());
  }
}

TEST(PlannerTest, ExchangesThatCostTooMuchAreAvoided) {
  const Graph graph = SmallGraph();
  CostModel cost;
  cost.exchange_seconds = 1;
  const Choice choice = Choose(graph, Partition(graph, 2), cost);
  const Choice alone = Choose(graph, Partition(graph, 1), cost);
  EXPECT_LE(choice.seconds, alone.seconds);
  EXPECT_LT(choice.seconds, 1);
}

// Others may still read what was exchanged, so nothing works on it in place.
TEST(PlannerTest, NothingWorksInPlaceOnWhatWasExchanged) {
  Graph graph;
  for (int i = 0; i < 5; ++i) {
    graph.tensors.push_back({"t" + std::to_string(i), v1::F32, v1::Register::TOKENS, 256, -1});
  }
  graph.tensors[3].in_place_of = 1;
  for (int32_t i = 0; i < 2; ++i) {
    graph.weights.push_back({{loader::Role::kFfnUp, i}, v1::F32, 256, 256, -1, false, 0});
  }
  const auto add = [&](v1::OperatorKind kind, std::vector<int32_t> in, int32_t out,
                       std::vector<int32_t> weights) {
    graph.operators.push_back({"op", kind, {}, std::move(in), {out}, std::move(weights)});
  };
  add(v1::EMBEDDING, {}, 0, {0});
  add(v1::LINEAR, {0}, 1, {1, -1});
  add(v1::ADDITION, {1, 0}, 2, {});  // reads t1 before it is changed
  add(v1::CLAMP, {1}, 3, {});
  add(v1::ADDITION, {3, 2}, 4, {});
  graph.logits = 4;
  const Partition partition(graph, 2);
  const Signature embed = {{}, {Sbp::B()}, {Sbp::B()}};
  const Signature split = {{Sbp::B()}, {Sbp::S(0), Sbp::B()}, {Sbp::S(1)}};
  const Signature whole = {{Sbp::B(), Sbp::B()}, {}, {Sbp::B()}};
  const Signature halves = {{Sbp::S(1), Sbp::S(1)}, {}, {Sbp::S(1)}};
  const Signature clamp = {{Sbp::S(1)}, {}, {Sbp::S(1)}};
  // t1 is gathered for the first addition, then clamped where its parts lie.
  EXPECT_EQ(ModelledSeconds(graph, partition, {}, {embed, split, whole, clamp, whole}),
            std::numeric_limits<double>::infinity());
  EXPECT_LT(ModelledSeconds(graph, partition, {}, {embed, split, halves, clamp, halves}), 1);
}

TEST(PlannerTest, CacheLiesAsAttentionReadsIt) {
  const Graph graph = SmallGraph();
  CostModel cost;
  cost.exchange_seconds = 0;
  cost.exchange_seconds_per_rank = 0;
  const Choice choice = Choose(graph, Partition(graph, 2), cost);
  Sbp cache = Sbp::B();
  int split = 0;
  for (size_t i = 0; i < graph.operators.size(); ++i) {
    if (graph.operators[i].kind == v1::KV_APPEND) cache = choice.signatures[i].inputs[0];
    if (graph.operators[i].kind != v1::ATTENTION) continue;
    EXPECT_EQ(choice.signatures[i].inputs[0], cache);
    split += cache == Sbp::S(1);
  }
  EXPECT_GT(split, 0);
}

}  // namespace
}  // namespace mneme::plan
