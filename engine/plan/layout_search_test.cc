// The search against brute force over the same space.
#include "engine/plan/layout_search.h"

#include <algorithm>
#include <map>
#include <random>
#include <string>

#include "engine/graph/memory_transformer.h"
#include "engine/graph/test_models.h"
#include "engine/plan/planner.h"
#include "gtest/gtest.h"
#include "loader/families/shapes.h"

namespace mneme::plan {
namespace {

using graph::Graph;

struct Random {
  std::mt19937 random;
  int64_t Below(int64_t n) { return static_cast<int64_t>(random() % static_cast<uint64_t>(n)); }
};

// Builds chains of linear operators, activations and additions, in which all tensors have 256
// columns.
class Chain {
 public:
  Graph graph;

  int32_t Weight(int64_t rows, int32_t shared_with) {
    graph.weights.push_back({{loader::Role::kFfnUp, static_cast<int32_t>(graph.weights.size())},
                             v1::F32,
                             rows,
                             256,
                             shared_with,
                             false,
                             0});
    return static_cast<int32_t>(graph.weights.size()) - 1;
  }
  int32_t Add(v1::OperatorKind kind, std::vector<int32_t> inputs, std::vector<int32_t> weights,
              int64_t cols = 256) {
    const int32_t y = static_cast<int32_t>(graph.tensors.size());
    graph.tensors.push_back({"t" + std::to_string(y), v1::F32, v1::Register::TOKENS, cols, -1});
    graph::Operator op;
    op.name = "op" + std::to_string(graph.operators.size());
    op.kind = kind;
    op.inputs = std::move(inputs);
    op.outputs = {y};
    op.weights = std::move(weights);
    graph.operators.push_back(op);
    graph.logits = y;
    return y;
  }
};

// What a block does: of each operator the kind, and which earlier tensor of the block it reads
// besides the last one.
struct Recipe {
  std::vector<std::pair<int64_t, int64_t>> operators;
};

int32_t AddBlock(const Recipe& recipe, int32_t x, Chain* chain) {
  std::vector<int32_t> made = {x};
  for (const auto& [kind, skip] : recipe.operators) {
    const int32_t other = made[skip % static_cast<int64_t>(made.size())];
    const int32_t last = made.back();
    made.push_back(kind == 0   ? chain->Add(v1::ADDITION, {last, other}, {})
                   : kind == 1 ? chain->Add(v1::ACTIVATION, {last, other}, {})
                               : chain->Add(v1::LINEAR, {last}, {chain->Weight(256, -1), -1}));
  }
  return made.back();
}

Graph RandomGraph(int64_t operators, int64_t blocks, Random& random) {
  Chain chain;
  const int32_t table = chain.Weight(512, -1);
  int32_t x = chain.Add(v1::EMBEDDING, {}, {table});
  Recipe recipe;
  for (int64_t i = 0; i < operators; ++i) {
    recipe.operators.emplace_back(random.Below(4), random.Below(4));
  }
  for (int64_t b = 0; b < blocks; ++b) x = AddBlock(recipe, x, &chain);
  const bool tied = random.Below(3) > 0;
  chain.Add(v1::LINEAR, {x}, {chain.Weight(512, tied ? table : -1), -1}, 512);
  return std::move(chain.graph);
}

// Every choice of the space, and the best of those that fit.
class BruteForce {
 public:
  BruteForce(const Planner& planner, double memory_bytes)
      : planner_(planner), memory_bytes_(memory_bytes), chosen_(planner.rules().operators(), 0) {
    Try(0);
  }
  double least() const { return least_; }
  double least_bytes() const { return least_bytes_; }

 private:
  void Try(size_t i) {
    const size_t first = i < chosen_.size() ? planner_.repetition().First(i) : i;
    if (i == chosen_.size()) {
      const Found found = Evaluate(planner_.rules(), planner_.memory(), chosen_);
      if (found.seconds < kNever) least_bytes_ = std::min(least_bytes_, found.bytes);
      if (found.bytes <= memory_bytes_) least_ = std::min(least_, found.seconds);
    } else if (first < i) {
      chosen_[i] = chosen_[first];
      Try(i + 1);
    } else {
      for (size_t k = 0; k < planner_.rules().options()[i].size(); ++k) {
        chosen_[i] = k;
        Try(i + 1);
      }
    }
  }

  const Planner& planner_;
  const double memory_bytes_;
  std::vector<size_t> chosen_;
  double least_ = kNever;
  double least_bytes_ = kNever;
};

GridOptions Declared(const Graph& graph, const GridPartition& partition) {
  return Combine(graph, partition, RunnableSignatures(graph, partition.over(true, false)),
                 RunnableSignatures(graph, partition.over(false, true)));
}

CostModel RandomCost(Random& random) {
  CostModel cost;
  cost.shared_memory = false;
  // 256 KB take 10 us: exchanges that cost nothing, something, and too much.
  cost.exchange_seconds = 4e-6 * static_cast<double>(random.Below(5));
  cost.outer = {10e9, 2 * cost.exchange_seconds, 0};
  return cost;
}

// Some of each operator's options: on two axes there are too many to try them all. Operators that
// are alike keep the same; the first one, and with it some choice, always is among them.
void Thin(const Graph& graph, size_t most, Random& random, GridOptions* options) {
  std::map<std::string, std::vector<GridSignature>> kept;
  for (size_t i = 0; i < options->size(); ++i) {
    const graph::Operator& op = graph.operators[i];
    std::string key = std::to_string(op.kind) + "x" + std::to_string((*options)[i].size());
    if (!op.weights.empty()) key += "x" + std::to_string(graph.weights[op.weights[0]].rows);
    const auto [it, inserted] = kept.try_emplace(key, (*options)[i]);
    while (inserted && it->second.size() > most) {
      it->second.erase(it->second.begin() + 1 +
                       random.Below(static_cast<int64_t>(it->second.size()) - 1));
    }
    (*options)[i] = it->second;
  }
}

// One random graph with and without a limit of its memory; whether the limit binds.
bool CheckOne(const Graph& graph, const Grid& grid, size_t most_options, Random& random) {
  const GridPartition partition(graph, grid);
  GridOptions options = Declared(graph, partition);
  Thin(graph, most_options, random, &options);
  CostModel cost = RandomCost(random);
  const MemoryNeeds needs = {.kv_positions = 0};
  const Planner free(graph, partition, cost, options, needs);
  const Found fastest = *free.Decode();
  const BruteForce all(free, kNever);
  EXPECT_NEAR(fastest.seconds, all.least(), 1e-12);
  EXPECT_DOUBLE_EQ(Evaluate(free.rules(), free.memory(), fastest.options).seconds, fastest.seconds);

  const double range = fastest.bytes - all.least_bytes();
  cost.memory_bytes =
      static_cast<int64_t>(fastest.bytes - static_cast<double>(random.Below(5)) / 4 * range);
  const Planner limited(graph, partition, cost, options, needs);
  const BruteForce fitting(limited, static_cast<double>(cost.memory_bytes));
  const absl::StatusOr<Found> found = limited.Decode();
  EXPECT_TRUE(found.ok()) << found.status();
  if (!found.ok()) return false;
  EXPECT_NEAR(found->seconds, fitting.least(), 1e-12);
  const Found evaluated = Evaluate(limited.rules(), limited.memory(), found->options);
  EXPECT_LE(evaluated.bytes, static_cast<double>(cost.memory_bytes) + 1e-3);
  EXPECT_NEAR(evaluated.seconds, found->seconds, 1e-12);
  return fastest.bytes > static_cast<double>(cost.memory_bytes);
}

TEST(LayoutSearchTest, NoChoiceThatFitsIsBetter) {
  Random random{std::mt19937(11)};
  int binding = 0;
  int repeated = 0;
  constexpr int kRounds = 300;
  for (int round = 0; round < kRounds && !HasFailure(); ++round) {
    const int64_t blocks = 1 + random.Below(3);
    const Graph graph = RandomGraph(blocks == 1 ? 3 + random.Below(2) : 4, blocks, random);
    const Grid grid = {{1, 2 + static_cast<int32_t>(random.Below(3))}};
    SCOPED_TRACE(round);
    binding += CheckOne(graph, grid, /*most_options=*/100, random);
    repeated += blocks > 1;
  }
  EXPECT_GE(binding, kRounds / 3);
  EXPECT_GE(repeated, kRounds / 2);
}

// With repeated blocks, which share their layouts, tied weights and skips.
TEST(LayoutSearchTest, NoChoiceOnTwoAxesIsBetter) {
  Random random{std::mt19937(13)};
  int binding = 0;
  int repeated = 0;
  int tied = 0;
  constexpr int kRounds = 200;
  for (int round = 0; round < kRounds && !HasFailure(); ++round) {
    SCOPED_TRACE(round);
    const int64_t blocks = 1 + random.Below(3);
    const Graph graph = RandomGraph(blocks == 1 ? 3 : 4, blocks, random);
    const Grid grid = {{2, 2 + static_cast<int32_t>(random.Below(2))}};
    binding += CheckOne(graph, grid, /*most_options=*/6, random);
    repeated += blocks > 1;
    tied += graph.weights.back().shared_with >= 0;
  }
  EXPECT_GE(binding, kRounds / 3);
  EXPECT_GE(repeated, kRounds / 2);
  EXPECT_GE(tied, kRounds / 2);
}

// All options of a few operators.
TEST(LayoutSearchTest, NoChoiceOfAllOnTwoAxesIsBetter) {
  Random random{std::mt19937(17)};
  int binding = 0;
  constexpr int kRounds = 12;
  for (int round = 0; round < kRounds && !HasFailure(); ++round) {
    SCOPED_TRACE(round);
    binding += CheckOne(RandomGraph(2, 1, random), {{2, 2}}, /*most_options=*/100, random);
  }
  EXPECT_GE(binding, kRounds / 3);
}

TEST(LayoutSearchTest, BlocksOfOneKindAreFound) {
  for (const int64_t layers : {2, 3, 64}) {
    const Graph graph =
        graph::BuildMemoryTransformer(graph::MemoryTestModel(layers), graph::Bf16Weights());
    const GridPartition partition(graph, {{1, 2}});
    const GridOptions options = Declared(graph, partition);
    const CostModel cost;
    const Planner planner(graph, partition, cost, options, {});
    const Repetition& r = planner.repetition();
    EXPECT_EQ(r.count, static_cast<size_t>(layers));
    EXPECT_EQ(graph.operators[r.begin].name, "block.0.attention_norm");
    EXPECT_EQ(graph.operators[r.end()].name, "logit_rows");
    EXPECT_EQ(r.First(r.begin + r.period), r.begin);
    EXPECT_EQ(r.First(0), 0u);
    EXPECT_EQ(r.Times(0), 1u);
    EXPECT_EQ(r.Times(r.begin), static_cast<size_t>(layers));
  }
}

// A memory layer that is added to another block than it reads: blocks differ, pairs of them do not.
TEST(LayoutSearchTest, GroupsOfBlocksMayRepeat) {
  loader::ModelDescription model = graph::MemoryTestModel(3);
  model.layers = 6;
  for (int64_t i = 0; i < 3; ++i) model.memory->layers[i] = {2 * i, 2 * i + 1, false};
  const Graph graph = graph::BuildMemoryTransformer(model, graph::Bf16Weights());
  const GridPartition partition(graph, {{1, 2}});
  const GridOptions options = Declared(graph, partition);
  const CostModel cost;
  const Planner planner(graph, partition, cost, options, {});
  EXPECT_EQ(planner.repetition().count, 3u);
  EXPECT_EQ(graph.operators[planner.repetition().end()].name, "logit_rows");
  const Found found = *planner.Decode();
  EXPECT_NEAR(Evaluate(planner.rules(), planner.memory(), found.options).seconds, found.seconds,
              1e-12);
}

// Planning is part of every start, and takes what the labels take that it keeps: some 650 a
// millisecond of one core (`mneme plan --cluster` says how long it took), so that either is planned
// in less than half a second.
TEST(LayoutSearchTest, SixtyFourLayersOnSixtyFourRanksArePlannedSoon) {
  loader::ModelDescription model = *loader::DescribeShape("ultramem-2.5b-120b", 0);
  const loader::MemoryPlacement last = model.memory->layers.back();
  model.layers = 64;
  for (int64_t l = 32; l < 64; ++l) {
    model.memory->layers.push_back(last);
    model.memory->layers.back().read_block = model.memory->layers.back().add_block = l;
  }
  const Graph graph = graph::BuildMemoryTransformer(model, graph::Bf16Weights());
  for (const auto& [name, most] : {std::pair("64xcpu", 2'000), std::pair("64xh100", 300'000)}) {
    const Cluster cluster = *NamedCluster(name);
    const CostModel cost = CostOf(cluster);
    const GridPartition partition(graph, Grid::Of(cluster));
    const GridOptions options = Declared(graph, partition);
    const Planner planner(graph, partition, cost, options, {.kv_positions = 4096});
    const absl::StatusOr<Found> found = planner.Decode();
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_GT(found->labels, 0);
    EXPECT_LT(found->labels, most) << name;
    EXPECT_EQ(planner.repetition().count, 64u);
  }
}

TEST(LayoutSearchTest, WhatDoesNotFitIsRefusedWithTheBytes) {
  const Graph graph = graph::BuildMemoryTransformer(*loader::DescribeShape("ultramem-2.5b-120b", 0),
                                                    graph::Bf16Weights());
  const Cluster cluster = *NamedCluster("1xh100");
  const CostModel cost = CostOf(cluster);
  const GridPartition partition(graph, Grid::Of(cluster));
  const GridOptions options = Declared(graph, partition);
  const absl::Status status = Planner(graph, partition, cost, options, {}).Decode().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("no plan fits: a rank would hold at least 2"), std::string::npos)
      << status;
  EXPECT_NE(status.message().find("on 1 rank, there are 80000000000"), std::string::npos) << status;
}

// Ranks of one process read one copy: what is not split costs no more than what is.
TEST(LayoutSearchTest, SharedMemoryHoldsWeightsOnce) {
  const Graph graph =
      graph::BuildMemoryTransformer(graph::MemoryTestModel(2), graph::Bf16Weights());
  const GridPartition partition(graph, {{1, 2}});
  const GridOptions options = Declared(graph, partition);
  CostModel cost;
  cost.exchange_seconds = cost.exchange_seconds_per_rank = 0;
  const auto bytes = [&](bool shared) {
    cost.shared_memory = shared;
    const Planner planner(graph, partition, cost, options, {});
    return planner.Decode()->bytes;
  };
  double weights = 0;
  for (const graph::Weight& w : graph.weights) {
    if (w.shared_with >= 0) continue;
    weights += w.value_table ? static_cast<double>(w.rows * w.row_bytes)
                             : static_cast<double>(w.rows * w.cols) * (w.type == v1::BF16 ? 2 : 4);
  }
  EXPECT_DOUBLE_EQ(bytes(true), weights);
  EXPECT_LT(bytes(false), 0.8 * weights);
}

TEST(LayoutSearchTest, OtherStepsKeepTheWeights) {
  const Graph graph = graph::BuildMemoryTransformer(*loader::DescribeShape("ultramem-1b-7b", 4),
                                                    graph::Bf16Weights());
  const GridPartition partition(graph, {{1, 4}});
  const GridOptions options = Declared(graph, partition);
  const CostModel cost;
  const Planner planner(graph, partition, cost, options, {});
  const Found decode = *planner.Decode();
  const Found prefill = planner.ForStep(StepShape::Prefill(512), decode);
  ASSERT_FALSE(prefill.options.empty());
  EXPECT_GT(prefill.seconds, 10 * decode.seconds);
  for (size_t i = 0; i < graph.operators.size(); ++i) {
    EXPECT_EQ(options[i][prefill.options[i]][kInner].weights,
              options[i][decode.options[i]][kInner].weights);
  }
  const Found again = planner.ForStep(StepShape::Decode(1, cost.context), decode);
  EXPECT_NEAR(again.seconds, decode.seconds, 1e-12);
}

TEST(LayoutSearchTest, TheRunnerUpChangesItsOperatorInAllBlocks) {
  const Graph graph =
      graph::BuildMemoryTransformer(graph::MemoryTestModel(3), graph::Bf16Weights());
  const GridPartition partition(graph, {{1, 2}});
  const GridOptions options = Declared(graph, partition);
  CostModel cost;
  cost.exchange_seconds = 1e-9;
  const Planner planner(graph, partition, cost, options, {});
  const Found decode = *planner.Decode();
  int compared = 0;
  for (size_t i = 0; i < graph.operators.size(); ++i) {
    const Found other = planner.RunnerUp(i, decode);
    if (other.options.empty()) continue;
    ++compared;
    EXPECT_GE(other.seconds, decode.seconds - 1e-15);
    for (size_t j = 0; j < graph.operators.size(); ++j) {
      if (planner.repetition().First(j) == planner.repetition().First(i)) {
        EXPECT_NE(other.options[j], decode.options[j]);
      }
    }
  }
  EXPECT_GT(compared, 20);
}

}  // namespace
}  // namespace mneme::plan
