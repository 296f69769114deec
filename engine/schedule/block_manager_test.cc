#include "engine/schedule/block_manager.h"

#include <map>
#include <random>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::schedule {
namespace {

using Tokens = std::vector<int32_t>;

uint64_t PublishAt(BlockManager* manager, int32_t block, uint64_t parent, const Tokens& tokens) {
  return manager->Publish(block, parent, HashBlock(0, tokens), tokens);
}

int32_t FindAt(const BlockManager& manager, uint64_t parent, const Tokens& tokens) {
  return manager.Find(parent, HashBlock(0, tokens), tokens);
}

TEST(BlockManagerTest, AllocatesEveryBlockOnceAndTakesThemBack) {
  BlockManager manager(5, 2);
  std::vector<bool> seen(5, false);
  for (int i = 0; i < 5; ++i) {
    const int32_t block = manager.Allocate();
    ASSERT_GE(block, 0);
    EXPECT_FALSE(seen[block]);
    seen[block] = true;
  }
  EXPECT_EQ(manager.Allocate(), kNoBlock);
  EXPECT_EQ(manager.free_blocks(), 0);
  for (int32_t block = 0; block < 5; ++block) manager.Release(block);
  EXPECT_EQ(manager.free_blocks(), 5);
}

TEST(BlockManagerTest, ABlockIsFreeOnlyAfterItsLastReference) {
  BlockManager manager(1, 2);
  const int32_t block = manager.Allocate();
  manager.AddReference(block);
  manager.Release(block);
  EXPECT_EQ(manager.free_blocks(), 0);
  manager.Release(block);
  EXPECT_EQ(manager.free_blocks(), 1);
}

TEST(BlockManagerTest, FindsAPublishedBlockBehindItsPredecessorOnly) {
  BlockManager manager(4, 2);
  const int32_t a = manager.Allocate();
  const int32_t b = manager.Allocate();
  const uint64_t serial_a = PublishAt(&manager, a, kRootSerial, {1, 2});
  const uint64_t serial_b = PublishAt(&manager, b, serial_a, {3, 4});
  EXPECT_EQ(FindAt(manager, kRootSerial, {1, 2}), a);
  EXPECT_EQ(FindAt(manager, serial_a, {3, 4}), b);
  EXPECT_EQ(FindAt(manager, kRootSerial, {3, 4}), kNoBlock);
  EXPECT_EQ(FindAt(manager, serial_b, {3, 4}), kNoBlock);
  EXPECT_EQ(FindAt(manager, kRootSerial, {2, 1}), kNoBlock);
}

TEST(BlockManagerTest, EqualHashesOfDifferentTokensAreToldApart) {
  BlockManager manager(4, 2);
  const int32_t a = manager.Allocate();
  const int32_t b = manager.Allocate();
  manager.Publish(a, kRootSerial, 77, Tokens{1, 2});
  manager.Publish(b, kRootSerial, 77, Tokens{3, 4});
  EXPECT_EQ(manager.Find(kRootSerial, 77, Tokens{1, 2}), a);
  EXPECT_EQ(manager.Find(kRootSerial, 77, Tokens{3, 4}), b);
  EXPECT_EQ(manager.Find(kRootSerial, 77, Tokens{5, 6}), kNoBlock);
  manager.Unpublish(a);
  EXPECT_EQ(manager.Find(kRootSerial, 77, Tokens{1, 2}), kNoBlock);
  EXPECT_EQ(manager.Find(kRootSerial, 77, Tokens{3, 4}), b);
}

TEST(BlockManagerTest, TheSecondOfTwoEqualBlocksIsNotPublished) {
  BlockManager manager(4, 2);
  const int32_t a = manager.Allocate();
  const int32_t b = manager.Allocate();
  const uint64_t serial = PublishAt(&manager, a, kRootSerial, {1, 2});
  EXPECT_EQ(PublishAt(&manager, b, kRootSerial, {1, 2}), serial);
  EXPECT_EQ(FindAt(manager, kRootSerial, {1, 2}), a);
}

TEST(BlockManagerTest, EvictsTheLeastRecentlyReleasedAndUnpublishedOnesFirst) {
  BlockManager manager(3, 2);
  const int32_t a = manager.Allocate();
  const int32_t b = manager.Allocate();
  const int32_t c = manager.Allocate();
  PublishAt(&manager, a, kRootSerial, {1, 1});
  PublishAt(&manager, b, kRootSerial, {2, 2});
  manager.Release(b);
  manager.Release(a);
  manager.Release(c);
  EXPECT_EQ(manager.Allocate(), c);
  // A hit makes b the most recently used of the two.
  EXPECT_EQ(FindAt(manager, kRootSerial, {2, 2}), b);
  manager.AddReference(b);
  manager.Release(b);
  EXPECT_EQ(manager.Allocate(), a);
  EXPECT_EQ(FindAt(manager, kRootSerial, {1, 1}), kNoBlock);
  EXPECT_EQ(FindAt(manager, kRootSerial, {2, 2}), b);
}

TEST(BlockManagerTest, ASuccessorOfAnEvictedBlockIsNeverFoundBehindItsReplacement) {
  BlockManager manager(2, 2);
  const int32_t a = manager.Allocate();
  const int32_t b = manager.Allocate();
  const uint64_t serial_a = PublishAt(&manager, a, kRootSerial, {1, 1});
  PublishAt(&manager, b, serial_a, {2, 2});
  manager.Release(a);
  EXPECT_EQ(manager.Allocate(), a);  // evicts it; b is still referenced and published
  const uint64_t again = PublishAt(&manager, a, kRootSerial, {1, 1});
  EXPECT_NE(again, serial_a);
  EXPECT_EQ(FindAt(manager, again, {2, 2}), kNoBlock);
}

// Random operations against a model that keeps counts and the published set in maps.
TEST(BlockManagerTest, AgreesWithAPlainModelUnderRandomOperations) {
  constexpr int32_t kBlocks = 16;
  BlockManager manager(kBlocks, 1);
  std::mt19937 random(5);
  std::map<int32_t, int32_t> references;
  std::vector<int32_t> held;
  for (int step = 0; step < 20000; ++step) {
    const uint32_t what = random() % 4;
    if (what == 0) {
      const int32_t block = manager.Allocate();
      ASSERT_EQ(block == kNoBlock, references.size() == kBlocks);
      if (block == kNoBlock) continue;
      ASSERT_EQ(references.count(block), 0u);
      references[block] = 1;
      held.push_back(block);
    } else if (what == 1 && !held.empty()) {
      const size_t i = random() % held.size();
      const int32_t block = held[i];
      held[i] = held.back();
      held.pop_back();
      manager.Release(block);
      if (--references[block] == 0) references.erase(block);
    } else if (what == 2) {
      const Tokens tokens = {static_cast<int32_t>(random() % 24)};
      const int32_t block = FindAt(manager, kRootSerial, tokens);
      if (block == kNoBlock) continue;
      manager.AddReference(block);
      ++references[block];
      held.push_back(block);
    } else if (what == 3 && !held.empty()) {
      PublishAt(&manager, held[random() % held.size()], kRootSerial,
                {static_cast<int32_t>(random() % 24)});
    }
    ASSERT_EQ(manager.free_blocks(), kBlocks - static_cast<int32_t>(references.size()));
    for (const auto& [block, count] : references) ASSERT_EQ(manager.references(block), count);
  }
  for (int32_t block : held) manager.Release(block);
  EXPECT_EQ(manager.free_blocks(), kBlocks);
}

}  // namespace
}  // namespace mneme::schedule
