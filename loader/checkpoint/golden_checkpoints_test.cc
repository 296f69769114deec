// The golden checkpoints, inspected: sizes and placements that only their configs and tensors
// together determine.
#include <string>

#include "gtest/gtest.h"
#include "loader/checkpoint/checkpoint.h"

namespace mneme::loader {
namespace {

Checkpoint Inspect(const std::string& name) {
  auto checkpoint = InspectCheckpoint("tests/golden/" + name);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  return checkpoint.ok() ? *std::move(checkpoint) : Checkpoint{};
}

const WeightSource::Part& Only(const Checkpoint& checkpoint, Role role, int32_t layer) {
  const WeightSource& source = checkpoint.weights.at({role, layer});
  EXPECT_EQ(source.parts.size(), 1u);
  return source.parts.at(0);
}

TEST(GoldenCheckpointsTest, UltraMemV2WrapsItsWindow) {
  const Checkpoint checkpoint = Inspect("ultramem_v2");
  ASSERT_TRUE(checkpoint.model.memory.has_value());
  const MemoryDescription& memory = *checkpoint.model.memory;
  EXPECT_EQ(memory.kind, MemoryKind::kUltraMemV2);
  EXPECT_EQ(memory.slots, 768);
  EXPECT_EQ(memory.window, 19 * 19);
  EXPECT_EQ(memory.key_count, 38);
  EXPECT_EQ(memory.virtual_slots, 1444);
  EXPECT_EQ(memory.expand_groups, 1);
  EXPECT_EQ(memory.query_chunks, 4);
  EXPECT_EQ(memory.heads_per_group, 2);
  EXPECT_EQ(memory.offset(2), 512);
  EXPECT_TRUE(memory.shuffled);
  EXPECT_EQ(checkpoint.weights.at({Role::kMemoryTable, -1}).parts.size(), 2u);
  EXPECT_EQ(checkpoint.weights.at({Role::kMemoryCores, 1}).parts.size(), 2u);
  EXPECT_EQ(checkpoint.weights.count({Role::kMemoryKeyMean, 0}), 0u);
  EXPECT_TRUE(checkpoint.model.tied_head);
  EXPECT_EQ(Only(checkpoint, Role::kHead, -1).tensor,
            Only(checkpoint, Role::kEmbedding, -1).tensor);
}

TEST(GoldenCheckpointsTest, FusedTensorsAreSplitByRows) {
  const Checkpoint checkpoint = Inspect("ultramem_v2_plain");
  EXPECT_EQ(checkpoint.model.attention.kv_heads, 2);
  EXPECT_EQ(Only(checkpoint, Role::kQuery, 1).first_row, 0);
  EXPECT_EQ(Only(checkpoint, Role::kQuery, 1).rows, 64);
  EXPECT_EQ(Only(checkpoint, Role::kKey, 1).first_row, 64);
  EXPECT_EQ(Only(checkpoint, Role::kKey, 1).rows, 32);
  EXPECT_EQ(Only(checkpoint, Role::kValue, 1).first_row, 96);
  EXPECT_EQ(Only(checkpoint, Role::kFfnUp, 1).first_row, 0);
  EXPECT_EQ(Only(checkpoint, Role::kFfnGate, 1).first_row, 64);
  EXPECT_EQ(checkpoint.model.memory->pre_value_dim, 0);
  EXPECT_EQ(checkpoint.weights.at({Role::kMemoryTable, -1}).parts.size(), 1u);
}

TEST(GoldenCheckpointsTest, ExpandIsAPickle) {
  const Checkpoint checkpoint = Inspect("ultramem_v2_expand");
  const MemoryDescription& memory = *checkpoint.model.memory;
  EXPECT_EQ(Only(checkpoint, Role::kHead, -1).tensor->file,
            "tests/golden/ultramem_v2_expand/model.pt");
  EXPECT_EQ(memory.heads, 2);
  EXPECT_EQ(memory.expand_groups, 4);
  EXPECT_EQ(memory.slots, 768);
  EXPECT_EQ(memory.window, 27 * 27);
  EXPECT_EQ(memory.virtual_slots, 4 * memory.window);
  EXPECT_TRUE(memory.gelu_pre_score);
  EXPECT_FALSE(checkpoint.model.tied_head);
}

TEST(GoldenCheckpointsTest, V1OwnsATablePerLayer) {
  const Checkpoint checkpoint = Inspect("ultramem_v1_skip");
  const MemoryDescription& memory = *checkpoint.model.memory;
  EXPECT_EQ(memory.kind, MemoryKind::kUltraMemV1);
  ASSERT_EQ(memory.layers.size(), 2u);
  EXPECT_EQ(memory.layers[0].read_block, 0);
  EXPECT_EQ(memory.layers[0].add_block, 2);
  EXPECT_FALSE(memory.layers[0].lost);
  EXPECT_EQ(memory.slots, 256);
  EXPECT_EQ(memory.expand_groups, 4);
  EXPECT_EQ(memory.query_chunks, 2);
  EXPECT_EQ(memory.heads_per_group, 2);
  EXPECT_FALSE(memory.shared_table);
  EXPECT_EQ(checkpoint.weights.count({Role::kMemoryTable, -1}), 0u);
  EXPECT_EQ(Only(checkpoint, Role::kMemoryTable, 1).rows, 256);
  EXPECT_EQ(Only(checkpoint, Role::kMemoryOut, 1).cols, 128);
}

TEST(GoldenCheckpointsTest, OptionsGiveNormsBiasesAndAnOwnHead) {
  const Checkpoint checkpoint = Inspect("ultramem_v2_options");
  const ModelDescription& model = checkpoint.model;
  EXPECT_TRUE(model.norm_after);
  EXPECT_TRUE(model.head_bias);
  EXPECT_FALSE(model.tied_head);
  EXPECT_EQ(model.vocab_size, 200);
  EXPECT_EQ(model.embedding_size, 256);
  EXPECT_EQ(model.attention.kv_heads, 1);
  EXPECT_EQ(model.attention.clip_qkv, 2.0f);
  EXPECT_EQ(model.ffn.activation, Activation::kGelu);
  EXPECT_EQ(model.ffn.hidden, 128);
  ASSERT_TRUE(model.embedding_norm.has_value());
  EXPECT_EQ(model.embedding_norm->kind, NormKind::kLayer);
  EXPECT_EQ(model.eos_token_ids, std::vector<int32_t>{0});
  EXPECT_EQ(model.pad_token_id, 1);
  EXPECT_EQ(model.memory->heads, 3);
  EXPECT_EQ(checkpoint.weights.count({Role::kMemoryKeyMean, 1}), 1u);
  EXPECT_EQ(checkpoint.weights.count({Role::kMemoryKeysNormBias, 1}), 1u);
  EXPECT_EQ(checkpoint.weights.count({Role::kFfnGate, 0}), 0u);
  EXPECT_EQ(Only(checkpoint, Role::kHeadBias, -1).rows, 256);
  EXPECT_EQ(Only(checkpoint, Role::kValueBias, 2).first_row, 80);
}

TEST(GoldenCheckpointsTest, CornersLoseTwoMemoryLayers) {
  const Checkpoint checkpoint = Inspect("ultramem_v2_corners");
  const ModelDescription& model = checkpoint.model;
  ASSERT_EQ(model.memory->layers.size(), 3u);
  EXPECT_TRUE(model.memory->layers[0].lost);
  EXPECT_TRUE(model.memory->layers[1].lost);
  EXPECT_FALSE(model.memory->layers[2].lost);
  EXPECT_EQ(model.warnings.size(), 2u);
  EXPECT_EQ(model.memory->window, 15 * 15);
  EXPECT_TRUE(model.memory->gelu_pre_score);
  EXPECT_FALSE(model.block_norm.weight);
  EXPECT_FALSE(model.block_norm.bias);
  EXPECT_TRUE(model.memory->query_norm.bias);
  EXPECT_FLOAT_EQ(model.block_norm.eps, 1e-3f);
  EXPECT_EQ(model.ffn.hidden, 96);
}

TEST(GoldenCheckpointsTest, MemoryPlusUsesItsKeysAsStored) {
  const Checkpoint checkpoint = Inspect("memory_plus");
  const MemoryDescription& memory = *checkpoint.model.memory;
  EXPECT_FALSE(memory.keys_norm.has_value());
  EXPECT_TRUE(memory.gated);
  EXPECT_FALSE(memory.shuffled);
  EXPECT_EQ(memory.query_chunks, 4);
  EXPECT_EQ(memory.heads_per_group, 1);
  EXPECT_EQ(memory.window, 256);
  EXPECT_EQ(memory.pre_value_dim, 0);
  EXPECT_EQ(checkpoint.weights.count({Role::kMemoryKeyInverseNorm, 0}), 0u);
  EXPECT_EQ(Only(checkpoint, Role::kMemoryKeys, 0).rows, 2 * 2 * 16);
  EXPECT_EQ(Only(checkpoint, Role::kMemoryKeys, 0).cols, 32);
  EXPECT_EQ(Only(checkpoint, Role::kMemoryGate, 2).rows, 64);
}

TEST(GoldenCheckpointsTest, DenseModelsHaveNoMemory) {
  const Checkpoint dense = Inspect("dense");
  EXPECT_FALSE(dense.model.memory.has_value());
  EXPECT_EQ(dense.model.architecture, "dense");
  const Checkpoint llama = Inspect("dense_llama");
  EXPECT_EQ(llama.model.ffn.activation, Activation::kRelu);
  EXPECT_FLOAT_EQ(llama.model.logit_scale, 0.125f);
  EXPECT_FLOAT_EQ(llama.model.attention.rope.theta, 500000.0f);
  EXPECT_FALSE(llama.model.attention.qk_norm.has_value());
  EXPECT_EQ(Only(llama, Role::kKey, 2).first_row, 0);
}

}  // namespace
}  // namespace mneme::loader
