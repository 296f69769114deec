#include "engine/plan/planner.h"

#include <algorithm>
#include <limits>
#include <random>
#include <string>

#include "engine/graph/memory_transformer.h"
#include "engine/graph/test_models.h"
#include "engine/plan/row_splits.h"
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

// What a larger step of a plan may be: the definition that Planner::ForStep is tested with.
class LargerStep {
 public:
  LargerStep(const Graph& graph, int32_t ranks, const CostModel& cost, const StepShape& step)
      : grid_(graph, {{1, ranks}}),
        options_(Combine(graph, grid_, Whole(graph),
                         WithRowSplits(graph, RunnableSignatures(graph, grid_.over(false, true))))),
        cost_(cost),
        planner_(graph, grid_, cost_, options_, {}),
        decode_(*planner_.Decode()),
        pricing_(graph, grid_, cost_, step),
        rules_(graph, pricing_, options_),
        chosen_(decode_.options) {}

  const Found& decode() const { return decode_; }
  const Planner& planner() const { return planner_; }
  const Signature& of(const Found& found, size_t i) const {
    return options_[i][found.options[i]][kInner];
  }
  double Seconds(const Found& found) const {
    return Evaluate(rules_, MemoryAccount(rules_, 0), found.options).seconds;
  }
  bool Allowed(size_t i, size_t option) const {
    const Signature& chosen = of(decode_, i);
    const Signature& other = options_[i][option][kInner];
    for (size_t k = 0; k < chosen.weights.size(); ++k) {
      const bool whole = cost_.shared_memory && other.weights[k] == Sbp::B();
      if (!whole && other.weights[k] != chosen.weights[k]) return false;
    }
    return SameSums(chosen, other);
  }
  double Least(size_t i = 0) {
    if (i == chosen_.size()) return Seconds({chosen_, 0, 0});
    double least = kNever;
    for (size_t k = 0; k < options_[i].size(); ++k) {
      if (!Allowed(i, k)) continue;
      chosen_[i] = k;
      least = std::min(least, Least(i + 1));
    }
    return least;
  }

 private:
  static SignatureOptions Whole(const Graph& graph) {
    return RunnableSignatures(graph, Partition(graph, 1));
  }

  const GridPartition grid_;
  const GridOptions options_;
  const CostModel cost_;
  const Planner planner_;
  const Found decode_;
  const Pricing pricing_;
  const LayoutRules rules_;
  std::vector<size_t> chosen_;
};

TEST(LargerStepTest, NoLayoutOfTheSameWeightsAndSumsIsBetter) {
  Random random{std::mt19937(17)};
  int better = 0;
  int divided = 0;
  for (int round = 0; round < 200; ++round) {
    const Graph graph = RandomGraph(random);
    CostModel cost;
    cost.shared_memory = random.Below(2) == 0;
    cost.exchange_seconds = 5e-6 * static_cast<double>(random.Below(4));
    cost.exchange_seconds_per_rank = 0;
    const StepShape step = StepShape::Decode(8 << random.Below(4), 0);
    LargerStep larger(graph, 2 + static_cast<int32_t>(random.Below(3)), cost, step);
    const Found found = larger.planner().ForStep(step, larger.decode());
    ASSERT_FALSE(found.options.empty()) << round;
    ASSERT_NEAR(found.seconds, larger.Least(), 1e-12) << round;
    ASSERT_NEAR(found.seconds, larger.Seconds(found), 1e-12) << round;
    better += found.seconds < larger.Seconds(larger.decode());
    const Found by_rows = larger.planner().ForStep(step, larger.decode(), /*by_rows=*/true);
    for (size_t i = 0; i < graph.operators.size(); ++i) {
      ASSERT_TRUE(larger.Allowed(i, found.options[i])) << round;
      ASSERT_TRUE(larger.Allowed(i, by_rows.options[i])) << round;
      divided += SplitsRows(larger.of(by_rows, i));
      ASSERT_FALSE(SplitsRows(larger.of(larger.decode(), i))) << round;
    }
  }
  EXPECT_GT(better, 20);
  EXPECT_GT(divided, 200);
}

TEST(LargerStepTest, FewRowsAreNotDivided) {
  const Graph graph = SmallGraph();
  LargerStep larger(graph, 4, {}, StepShape::Decode(7, 0));
  for (bool by_rows : {false, true}) {
    const Found found = larger.planner().ForStep(StepShape::Decode(7, 0), larger.decode(), by_rows);
    for (size_t i = 0; i < graph.operators.size(); ++i) {
      EXPECT_FALSE(SplitsRows(larger.of(found, i))) << graph.operators[i].name;
    }
  }
  const Found more = larger.planner().ForStep(StepShape::Decode(8, 0), larger.decode(), true);
  size_t divided = 0;
  for (size_t i = 0; i < graph.operators.size(); ++i) divided += SplitsRows(larger.of(more, i));
  EXPECT_GT(divided, 0u);
}

TEST(LargerStepTest, LogitRowsAreNotDivided) {
  const Graph graph = SmallGraph();
  const SignatureOptions options = WithRowSplits(graph, SignatureOptions(graph.operators.size()));
  for (size_t i = 0; i < options.size(); ++i) {
    for (int32_t output : graph.operators[i].outputs) {
      if (output < 0 || graph.tensors[output].rows == v1::Register::TOKENS) continue;
      EXPECT_TRUE(options[i].empty()) << graph.operators[i].name;
    }
    for (const Signature& s : options[i]) EXPECT_TRUE(SplitsRows(s)) << graph.operators[i].name;
  }
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
