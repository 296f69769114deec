#include "loader/native/shard_plan.h"

#include <unistd.h>

#include <deque>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "loader/safetensors/safetensors.h"

namespace mneme::loader {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t kMiB = int64_t{1} << 20;

// Tensors that have shapes only: a plan looks at nothing else.
class Sources {
 public:
  WeightSource::Part Part(StoredDType dtype, int64_t rows, int64_t cols) {
    StoredTensor& tensor = tensors_.emplace_back();
    tensor.dtype = dtype;
    tensor.shape = {rows, cols};
    return {&tensor, 0, rows, cols};
  }
  void Add(Role role, int32_t layer, int64_t rows, int64_t cols) {
    weights[{role, layer}].parts = {Part(StoredDType::kBf16, rows, cols)};
  }

  WeightSources weights;

 private:
  std::deque<StoredTensor> tensors_;
};

ModelDescription Model() {
  ModelDescription model;
  model.attention.head_dim = 16;
  model.max_sequence_length = 128;
  model.memory.emplace();
  model.memory->rank = 2;
  return model;
}

ShardPlan Plan(const Sources& sources, ShardPlanOptions options = {}) {
  options.conversion = std::string(32, 'a');
  auto plan = PlanShards(Model(), sources.weights, options);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.ok() ? *std::move(plan) : ShardPlan{};
}

std::vector<std::string> Names(const ShardPlan& plan, size_t shard) {
  std::vector<std::string> names;
  for (const ShardPiece& piece : plan.shards.at(shard).pieces) {
    if (piece.weight < 0) continue;
    const ManifestWeight& weight = plan.weights[static_cast<size_t>(piece.weight)];
    names.push_back(weight.tensor_name(piece.tensor));
  }
  return names;
}

// Writes the header before a hole and has it read by the safetensors reader, which accepts neither
// gaps nor overlaps; then compares every tensor with the plan.
void CheckHeader(const ShardPlan& plan, size_t index) {
  const PlannedShard& shard = plan.shards[index];
  SCOPED_TRACE(shard.file);
  const std::string path = testing::TempDir() + "/" + shard.file;
  std::ofstream(path, std::ios::binary) << shard.header;
  ASSERT_EQ(truncate(path.c_str(), shard.bytes), 0);
  const auto file = SafetensorsFile::Open(path);
  unlink(path.c_str());
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT((*file)->metadata(),
              testing::UnorderedElementsAre(
                  testing::Pair("format", "mneme"), testing::Pair("format_version", "1"),
                  testing::Pair("conversion", std::string(32, 'a')),
                  testing::Pair("shard", std::to_string(index + 1)),
                  testing::Pair("shards", std::to_string(plan.shards.size()))));
  const auto header_bytes = static_cast<int64_t>(shard.header.size());
  EXPECT_EQ(header_bytes % kShardDataAlignment, 0);
  ASSERT_EQ((*file)->tensors().size(), shard.pieces.size());
  int64_t end = header_bytes;
  for (const ShardPiece& piece : shard.pieces) {
    EXPECT_EQ(piece.offset, end);
    end += piece.bytes;
    if (piece.weight < 0) continue;
    const ManifestWeight& weight = plan.weights[static_cast<size_t>(piece.weight)];
    const StoredTensor& stored = (*file)->tensors().at(weight.tensor_name(piece.tensor));
    const ManifestTensor& tensor = weight.tensors[static_cast<size_t>(piece.tensor)];
    EXPECT_EQ(tensor.name, stored.name);
    EXPECT_EQ(tensor.shard, static_cast<int64_t>(index) + 1);
    EXPECT_EQ(tensor.offset, piece.offset);
    EXPECT_EQ(tensor.offset, header_bytes + stored.place);
    EXPECT_EQ(tensor.bytes, static_cast<int64_t>(stored.bytes.size()));
    EXPECT_EQ(stored.dtype, weight.dtype);
    EXPECT_EQ(stored.shape[0], weight.tensor_rows(piece.tensor));
    EXPECT_EQ(piece.offset % (weight.blocks() ? kBlockAlignment : kNativeTensorAlignment), 0);
  }
  EXPECT_EQ(end, shard.bytes);
}

TEST(ShardPlanTest, WeightsLieInOrderOfUse) {
  Sources sources;
  sources.Add(Role::kEmbedding, -1, 100, 8);
  sources.Add(Role::kQuery, 1, 8, 8);
  sources.Add(Role::kQuery, 0, 8, 8);
  sources.Add(Role::kRouter, 0, 2, 8);
  sources.Add(Role::kAttentionNormWeight, 0, 8, 1);
  sources.Add(Role::kMemoryQuery, 0, 8, 8);
  for (const Role role : {Role::kExpertGate, Role::kExpertUp, Role::kExpertDown}) {
    const auto part = [&] { return sources.Part(StoredDType::kBf16, 3, 5); };
    sources.weights[{role, 0}].parts = {part(), part()};
  }
  sources.weights[{Role::kMemoryTable, -1}].parts = {sources.Part(StoredDType::kF32, 10, 4),
                                                     sources.Part(StoredDType::kF32, 10, 20)};
  const ShardPlan plan = Plan(sources);
  ASSERT_EQ(plan.shards.size(), 1u);
  EXPECT_THAT(
      Names(plan, 0),
      ElementsAre("embedding", "block.0.attention_norm.weight", "block.0.query", "block.0.router",
                  "block.0.expert_gate.0", "block.0.expert_up.0", "block.0.expert_down.0",
                  "block.0.expert_gate.1", "block.0.expert_up.1", "block.0.expert_down.1",
                  "block.1.query", "memory.0.query", "memory.table.block.0"));
  CheckHeader(plan, 0);
  EXPECT_EQ(plan.shards[0].file, "model-00001-of-00001.safetensors");
  // Vectors are float32 whatever they were.
  EXPECT_EQ(plan.weights[1].name, "block.0.attention_norm.weight");
  EXPECT_EQ(plan.weights[1].dtype, StoredDType::kF32);
}

TEST(ShardPlanTest, ATiedHeadIsStoredOnce) {
  Sources sources;
  sources.Add(Role::kEmbedding, -1, 100, 8);
  sources.weights[{Role::kHead, -1}] = sources.weights[{Role::kEmbedding, -1}];
  sources.Add(Role::kQuery, 0, 100, 8);
  const ShardPlan plan = Plan(sources);
  EXPECT_THAT(Names(plan, 0), ElementsAre("embedding", "block.0.query"));
  EXPECT_EQ(plan.weights[1].name, "head");
  EXPECT_EQ(plan.weights[1].same_as, "embedding");
  EXPECT_TRUE(plan.weights[1].tensors.empty());
  // Other rows of the same tensor are other bytes.
  sources.weights[{Role::kHead, -1}].parts[0].first_row = 1;
  EXPECT_THAT(Names(Plan(sources), 0), ElementsAre("embedding", "head", "block.0.query"));
}

TEST(ShardPlanTest, ATableIsDividedIntoBlocksOverShards) {
  Sources sources;
  sources.Add(Role::kEmbedding, -1, 1000, 8);
  // Rows of 192 bytes: 32768 of them are 3 huge pages.
  constexpr int64_t kRows = 70'000'000;
  sources.weights[{Role::kMemoryTable, -1}].parts = {sources.Part(StoredDType::kF32, kRows, 16),
                                                     sources.Part(StoredDType::kF32, kRows, 32)};
  const ShardPlan plan = Plan(sources);
  const ManifestWeight& table = plan.weights[1];
  EXPECT_EQ(table.row_stride, 192);
  EXPECT_EQ(table.block_rows * table.row_stride, 252 * kMiB);  // 42 times 6 MiB
  EXPECT_EQ(table.block_rows % 32768, 0);
  EXPECT_EQ(table.tensor_count(), 51);
  ASSERT_EQ(plan.shards.size(), 4u);
  int64_t rows = 0;
  for (int64_t i = 0; i < table.tensor_count(); ++i) rows += table.tensor_rows(i);
  EXPECT_EQ(rows, kRows);
  for (size_t i = 0; i < plan.shards.size(); ++i) {
    CheckHeader(plan, i);
    EXPECT_LE(plan.shards[i].bytes, kMostShardBytes);
    // Blocks that are whole huge pages need no padding between them.
    size_t paddings = 0;
    for (const ShardPiece& piece : plan.shards[i].pieces) paddings += piece.weight < 0 ? 1 : 0;
    EXPECT_LE(paddings, 1u);
  }
  EXPECT_EQ(Names(plan, 0).size(), 1u + 16u);
  EXPECT_EQ(Names(plan, 3).size(), 3u);
}

TEST(ShardPlanTest, RowsThatNoBlockOfHugePagesHoldsMakeBlocksOfPages) {
  Sources sources;
  sources.weights[{Role::kMemoryTable, -1}].parts = {sources.Part(StoredDType::kF32, 100'000, 48)};
  const ShardPlan plan = Plan(sources, {.pack = {}, .conversion = {}, .shard_bytes = 4 * kMiB});
  const ManifestWeight& table = plan.weights[0];
  // 2 MiB are left of a shard: 170 times 64 rows, which are 3 pages.
  EXPECT_EQ(table.block_rows, 170 * 64);
  EXPECT_EQ(table.tensor_count(), 10);
  EXPECT_EQ(plan.shards.size(), 10u);
  for (size_t i = 0; i < plan.shards.size(); ++i) {
    CheckHeader(plan, i);
    EXPECT_LE(plan.shards[i].bytes, 4 * kMiB);
  }
}

TEST(ShardPlanTest, AMatrixThatNoShardHoldsIsDivided) {
  Sources sources;
  sources.Add(Role::kEmbedding, -1, 5000, 1001);
  sources.Add(Role::kQuery, 0, 2000, 1000);
  sources.weights[{Role::kMemoryShuffle, 0}].parts = {
      sources.Part(StoredDType::kI64, 3'000'000, 1)};
  const ShardPlan plan = Plan(sources, {.pack = {}, .conversion = {}, .shard_bytes = 4 * kMiB});
  const ManifestWeight& embedding = plan.weights[0];
  EXPECT_TRUE(embedding.blocks());
  EXPECT_EQ(embedding.block_rows * embedding.row_bytes() % kBlockBytesMultiple, 0);
  EXPECT_EQ(plan.weights[1].tensor_count(), 1);
  EXPECT_FALSE(plan.weights[1].blocks());
  EXPECT_EQ(plan.weights[2].dtype, StoredDType::kI32);
  EXPECT_EQ(plan.weights[2].block_rows, kMiB / 2);
  for (size_t i = 0; i < plan.shards.size(); ++i) CheckHeader(plan, i);
}

TEST(ShardPlanTest, ShardsAreFilledButNotBeyondTheirLimit) {
  for (const int64_t limit : {4 * kMiB, 5 * kMiB + 12345}) {
    Sources sources;
    for (int32_t block = 0; block < 60; ++block) {
      sources.Add(Role::kQuery, block, 1 + block * 7, 501);
      sources.Add(Role::kFfnUp, block, 600, 1 + block * 7);
    }
    sources.weights[{Role::kMemoryTable, -1}].parts = {
        sources.Part(StoredDType::kBf16, 40'000, 128)};
    const ShardPlan plan = Plan(sources, {.pack = {}, .conversion = {}, .shard_bytes = limit});
    int64_t sum = 0;
    for (size_t i = 0; i < plan.shards.size(); ++i) {
      CheckHeader(plan, i);
      EXPECT_LE(plan.shards[i].bytes, limit);
      sum += plan.shards[i].bytes;
    }
    EXPECT_EQ(plan.bytes(), sum);
    // Without blocks, what is left free is less than the largest tensor and a page of header.
    EXPECT_GT(plan.shards[0].bytes, limit - 600 * 420 * 2 - 4096);
  }
}

TEST(ShardPlanTest, OptionsChangeDTypes) {
  Sources sources;
  sources.weights[{Role::kQuery, 0}].parts = {sources.Part(StoredDType::kF32, 8, 8)};
  sources.Add(Role::kKey, 0, 8, 8);
  const auto dtypes = [&](PackOptions options) {
    const ShardPlan plan = Plan(sources, {.pack = options, .conversion = {}});
    return std::pair(plan.weights[0].dtype, plan.weights[1].dtype);
  };
  EXPECT_EQ(dtypes({}), std::pair(StoredDType::kF32, StoredDType::kBf16));
  EXPECT_EQ(dtypes({.round_to_bf16 = true}), std::pair(StoredDType::kBf16, StoredDType::kBf16));
  EXPECT_EQ(dtypes({.widen_to_f32 = true}), std::pair(StoredDType::kF32, StoredDType::kF32));
}

TEST(ShardPlanTest, ComputedWeightsHaveTheModelsSizes) {
  Sources sources;
  sources.weights[{Role::kRopeCos, -1}];
  sources.Add(Role::kMemoryKeyInverseNorm, 3, 50, 32);
  const ShardPlan plan = Plan(sources);
  EXPECT_EQ(plan.weights[0].rows, 128);
  EXPECT_EQ(plan.weights[0].cols, 8);
  EXPECT_EQ(plan.weights[1].rows, 50);
  EXPECT_EQ(plan.weights[1].cols, 2);
  EXPECT_EQ(plan.weights[1].dtype, StoredDType::kF32);
}

TEST(ShardPlanTest, PartsThatDoNotFitTogetherAreRefused) {
  const auto refusal = [](Role role, std::vector<std::pair<int64_t, int64_t>> shapes) {
    Sources sources;
    for (const auto& [rows, cols] : shapes) {
      sources.weights[{role, 0}].parts.push_back(sources.Part(StoredDType::kF32, rows, cols));
    }
    sources.weights[{role, 0}];
    return std::string(PlanShards(Model(), sources.weights, {}).status().message());
  };
  EXPECT_EQ(refusal(Role::kQuery, {}), "block.0.query: has no source");
  EXPECT_EQ(refusal(Role::kExpertUp, {{3, 5}, {4, 5}}),
            "block.0.expert_up: matrices of different heights");
  EXPECT_EQ(refusal(Role::kExpertUp, {{3, 5}, {3, 6}}),
            "block.0.expert_up: parts of different widths");
  EXPECT_EQ(refusal(Role::kMemoryTable, {{3, 5}, {4, 5}}),
            "memory.0.table: pre-values and values of different numbers of rows");
}

}  // namespace
}  // namespace mneme::loader
