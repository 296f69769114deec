#include "engine/plan/partition.h"

#include "engine/graph/memory_transformer.h"
#include "engine/graph/test_models.h"
#include "gtest/gtest.h"

namespace mneme::plan {
namespace {

TEST(PartitionTest, CutsGranulesEvenly) {
  EXPECT_EQ(CutEvenly(10, 1, 3), (Parts{{0, 4}, {4, 7}, {7, 10}}));
  EXPECT_EQ(CutEvenly(256, 64, 2), (Parts{{0, 128}, {128, 256}}));
  // The last granule may be narrower.
  EXPECT_EQ(CutEvenly(150, 64, 2), (Parts{{0, 128}, {128, 150}}));
  EXPECT_EQ(CutEvenly(64, 64, 1), (Parts{{0, 64}}));
  EXPECT_TRUE(CutEvenly(128, 64, 3).empty());
}

TEST(PartitionTest, FreeCutsAreEvenAndInLargeGranulesWhereThatIsBoth) {
  EXPECT_EQ(CutFinely(768, 2), (Parts{{0, 384}, {384, 768}}));
  EXPECT_EQ(CutFinely(1224, 2), (Parts{{0, 640}, {640, 1224}}));
  EXPECT_EQ(CutFinely(1224, 4, kKeyGranule),
            (Parts{{0, 320}, {320, 624}, {624, 928}, {928, 1224}}));
  EXPECT_EQ(CutFinely(40, 2), (Parts{{0, 20}, {20, 40}}));
  EXPECT_EQ(CutFinely(3, 3), (Parts{{0, 1}, {1, 2}, {2, 3}}));
  EXPECT_TRUE(CutFinely(3, 4).empty());
  for (int64_t cols : {5, 16, 37, 128, 612, 1000, 50304}) {
    for (int32_t ranks = 1; ranks <= 5; ++ranks) {
      const Parts parts = CutFinely(cols, ranks);
      ASSERT_EQ(parts.size(), static_cast<size_t>(ranks));
      int64_t next = 0;
      for (const Part& part : parts) {
        EXPECT_EQ(part.begin, next);
        EXPECT_GT(part.size(), 0) << cols << " " << ranks;
        EXPECT_LE(part.size() * 16, (cols + ranks - 1) / ranks * 17) << cols << " " << ranks;
        next = part.end;
      }
      EXPECT_EQ(next, cols);
    }
  }
}

TEST(PartitionTest, HeadsFollowTheirKeyValueHeads) {
  const HeadParts whole = CutHeads(8, 4, 3);
  EXPECT_EQ(whole.kv_heads, (Parts{{0, 2}, {2, 3}, {3, 4}}));
  EXPECT_EQ(whole.heads, (Parts{{0, 4}, {4, 6}, {6, 8}}));
}

TEST(PartitionTest, RanksShareAKeyValueHead) {
  const HeadParts shared = CutHeads(8, 2, 4);
  EXPECT_EQ(shared.heads, (Parts{{0, 2}, {2, 4}, {4, 6}, {6, 8}}));
  EXPECT_EQ(shared.kv_heads, (Parts{{0, 1}, {0, 1}, {1, 2}, {1, 2}}));
  const HeadParts uneven = CutHeads(6, 2, 3);
  EXPECT_EQ(uneven.heads, (Parts{{0, 2}, {2, 3}, {3, 6}}));
  EXPECT_EQ(uneven.kv_heads, (Parts{{0, 1}, {0, 1}, {1, 2}}));
  // A rank without a query head would have nothing to do.
  EXPECT_TRUE(CutHeads(2, 2, 4).heads.empty());
}

// Whatever the numbers: every head once, beside the key-value head that it reads.
TEST(PartitionTest, EveryHeadIsSomewhere) {
  for (int32_t kv : {1, 2, 3, 4, 8}) {
    for (int32_t group : {1, 2, 4, 7}) {
      for (int32_t ranks = 1; ranks <= 9; ++ranks) {
        const HeadParts cut = CutHeads(kv * group, kv, ranks);
        if (cut.heads.empty()) continue;
        ASSERT_EQ(cut.heads.size(), static_cast<size_t>(ranks));
        ASSERT_EQ(cut.kv_heads.size(), static_cast<size_t>(ranks));
        int64_t next = 0;
        for (int32_t r = 0; r < ranks; ++r) {
          EXPECT_EQ(cut.heads[r].begin, next);
          EXPECT_GT(cut.heads[r].size(), 0);
          next = cut.heads[r].end;
          EXPECT_EQ(cut.heads[r].begin / group, cut.kv_heads[r].begin);
          EXPECT_EQ((cut.heads[r].end - 1) / group + 1, cut.kv_heads[r].end);
          // The kernel wants as many query heads for each of the rank's key-value heads.
          EXPECT_EQ(cut.heads[r].size() % cut.kv_heads[r].size(), 0);
        }
        EXPECT_EQ(next, kv * group);
      }
    }
  }
}

TEST(PartitionTest, TensorsWalkedSideBySideAreCutAlike) {
  const graph::Graph graph =
      graph::BuildMemoryTransformer(graph::MemoryTestModel(2), graph::Bf16Weights());
  const Partition partition(graph, 2);
  int checked = 0;
  for (const graph::Operator& op : graph.operators) {
    if (op.kind == v1::ATTENTION || op.kind == v1::ACTIVATION || op.kind == v1::ADDITION) {
      EXPECT_EQ(partition.Of(op.inputs[0]), partition.Of(op.outputs[0])) << op.name;
      ++checked;
    }
    if (op.kind != v1::VALUE_GATHER) continue;
    // Selections go with their weights.
    const int64_t cores = op.attributes.gather().cores();
    const Parts& slots = partition.Of(op.inputs[0]);
    const Parts& weights = partition.Of(op.inputs[2]);
    ASSERT_EQ(slots.size(), 2u);
    ASSERT_EQ(weights.size(), 2u);
    for (int r = 0; r < 2; ++r) {
      EXPECT_EQ(weights[r], (Part{slots[r].begin * cores, slots[r].end * cores}));
    }
    ++checked;
  }
  EXPECT_GT(checked, 4);
}

}  // namespace
}  // namespace mneme::plan
