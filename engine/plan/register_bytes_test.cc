#include "engine/plan/register_bytes.h"

#include "absl/strings/str_cat.h"
#include "engine/graph/forms.h"
#include "engine/graph/memory_transformer.h"
#include "engine/graph/test_models.h"
#include "engine/plan/compile.h"
#include "engine/plan/planner.h"
#include "gtest/gtest.h"
#include "loader/families/shapes.h"

namespace mneme::plan {
namespace {

using graph::Graph;

CompileOptions Options(int32_t ranks, int64_t tokens) {
  CompileOptions options;
  options.cluster.set_ranks(ranks);
  options.limits.set_max_tokens(static_cast<int32_t>(tokens));
  options.limits.set_max_sequences(8);
  options.limits.set_max_logit_rows(8);
  options.limits.set_max_positions(64);
  options.limits.set_kv_blocks(4);
  options.limits.set_kv_block_tokens(16);
  return options;
}

// The bound beside the arena of the plan that it is for, of which it may be half as much again.
void Compare(const Graph& graph, int32_t ranks, int64_t tokens, double exchange) {
  const GridPartition partition(graph, {{1, ranks}});
  const GridOptions options =
      Combine(graph, partition, RunnableSignatures(graph, partition.over(true, false)),
              RunnableSignatures(graph, partition.over(false, true)));
  CostModel cost;
  cost.exchange_seconds = exchange;
  cost.exchange_seconds_per_rank = 0;
  const Planner planner(graph, partition, cost, options, {});
  const Found found = *planner.Decode();
  std::vector<graph::Signature> signatures;
  for (size_t i = 0; i < options.size(); ++i) {
    signatures.push_back(options[i][found.options[i]][kInner]);
  }
  const int64_t arena = ArenaBytes(graph, Options(ranks, tokens), signatures);
  const int64_t bound = RegisterBytesBound(planner.rules(), found.options, tokens, 8);
  EXPECT_GE(bound, arena);
  EXPECT_LE(bound, arena * 3 / 2);
}

TEST(RegisterBytesTest, APlanNeverHasMoreAndNotMuchLess) {
  std::vector<std::pair<std::string, Graph>> graphs;
  for (const std::string& shape : loader::ShapeNames()) {
    graphs.emplace_back(shape, graph::BuildMemoryTransformer(*loader::DescribeShape(shape, 3),
                                                             graph::Bf16Weights()));
  }
  graphs.emplace_back(
      "test model", graph::BuildMemoryTransformer(graph::MemoryTestModel(3), graph::Bf16Weights()));
  for (const auto& [name, graph] : graphs) {
    for (int32_t ranks : {1, 2, 3, 8}) {
      for (int64_t tokens : {8, 512}) {
        for (double exchange : {0.0, 3e-6, 1e-3}) {
          SCOPED_TRACE(absl::StrCat(name, " on ", ranks, ", ", tokens, " tokens, ", exchange));
          for (const Graph& form : graph::Forms(graph)) Compare(form, ranks, tokens, exchange);
        }
      }
    }
  }
}

}  // namespace
}  // namespace mneme::plan
