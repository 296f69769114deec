// What ModelWeights lists is what the families find in checkpoints, which they check by the names
// and shapes that checkpoints have: two ways from a config to the same weights.
#include "loader/model/model_weights.h"

#include <string>

#include "gtest/gtest.h"
#include "loader/checkpoint/checkpoint.h"

namespace mneme::loader {
namespace {

// As it lies in the checkpoint's files; `due` says what kind of weight it is.
WeightShape ShapeOf(const WeightId& id, const WeightSource& source, const WeightShape& due) {
  if (IsComputed(id.role)) return due;  // from other weights, or from none
  const WeightSource::Part& first = source.parts.at(0);
  WeightShape shape{.rows = first.rows, .cols = first.cols, .stack = 0, .pre_cols = 0};
  if (id.role == Role::kMemoryTable) {
    shape.cols = source.parts.back().cols;
    if (source.parts.size() == 2) shape.pre_cols = first.cols;
    return shape;
  }
  for (const WeightSource::Part& part : source.parts) {
    EXPECT_EQ(part.cols, first.cols) << WeightName(id);
    EXPECT_TRUE(due.stack == 0 || part.rows == first.rows) << WeightName(id);
  }
  const auto parts = static_cast<int64_t>(source.parts.size());
  if (due.stack > 0) {
    shape.stack = parts;
  } else {
    shape.rows *= parts;
  }
  return shape;
}

class ModelWeightsTest : public testing::TestWithParam<const char*> {};

TEST_P(ModelWeightsTest, AreWhatTheCheckpointHas) {
  const absl::StatusOr<Checkpoint> checkpoint = InspectCheckpoint(GetParam());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const std::map<WeightId, WeightShape> listed = ModelWeights(checkpoint->model);
  for (const auto& [id, source] : checkpoint->weights) {
    const auto found = listed.find(id);
    ASSERT_NE(found, listed.end()) << WeightName(id) << " is not listed";
    EXPECT_EQ(WeightShapeText(ShapeOf(id, source, found->second)), WeightShapeText(found->second))
        << WeightName(id);
  }
  for (const auto& [id, shape] : listed) {
    EXPECT_TRUE(checkpoint->weights.contains(id)) << WeightName(id) << " is in no file";
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, ModelWeightsTest,
    testing::Values("tests/golden/dense", "tests/golden/dense_llama", "tests/golden/memory_plus",
                    "tests/golden/ultramem_v1_skip", "tests/golden/ultramem_v2",
                    "tests/golden/ultramem_v2_corners", "tests/golden/ultramem_v2_expand",
                    "tests/golden/ultramem_v2_options", "tests/golden/ultramem_v2_plain",
                    "tests/golden/mixtral", "tests/golden/mixtral_llama3rope", "tests/golden/olmoe",
                    "tests/golden/olmoe_fused", "tests/golden/qwen2_moe", "tests/golden/qwen3_moe",
                    "models/demo/ultramem", "models/demo/olmoe"),
    [](const auto& info) {
      const std::string path = info.param;
      return path.substr(path.rfind('/') + 1) + (path.starts_with("models") ? "_demo" : "");
    });

// Computed ones have no tensor to be compared with.
TEST(ModelWeightsShapeTest, ComputedWeightsHaveTheirShapes) {
  ModelDescription model;
  model.attention.head_dim = 16;
  model.max_sequence_length = 128;
  MemoryDescription& memory = model.memory.emplace();
  memory.layers.resize(1);
  memory.heads = 3;
  memory.key_count = 5;
  memory.key_dim = 12;
  memory.rank = 2;
  const WeightId inverse{Role::kMemoryKeyInverseNorm, 0};
  const WeightId mean{Role::kMemoryKeyMean, 0};
  EXPECT_EQ(ModelWeights(model).count(inverse), 0u);
  memory.keys_norm = NormDescription{.kind = NormKind::kRms};
  EXPECT_EQ(ModelWeights(model).count(mean), 0u);
  memory.keys_norm->kind = NormKind::kLayer;
  const std::map<WeightId, WeightShape> weights = ModelWeights(model);
  EXPECT_EQ(WeightShapeText(weights.at({Role::kRopeCos})), "[128, 8]");
  EXPECT_EQ(WeightShapeText(weights.at({Role::kRopeSin})), "[128, 8]");
  EXPECT_EQ(WeightShapeText(weights.at({Role::kMemoryKeys, 0})), "[30, 24]");
  EXPECT_EQ(WeightShapeText(weights.at(inverse)), "[30, 2]");
  EXPECT_EQ(WeightShapeText(weights.at(mean)), "[30, 2]");
}

TEST(ModelWeightsShapeTest, ShapesAsText) {
  EXPECT_EQ(WeightShapeText({.rows = 8, .cols = 16}), "[8, 16]");
  EXPECT_EQ(WeightShapeText({.rows = 8, .cols = 16, .stack = 4}), "4 x [8, 16]");
  EXPECT_EQ(WeightShapeText({.rows = 8, .cols = 16, .stack = 0, .pre_cols = 4}), "[8, 4 + 16]");
}

}  // namespace
}  // namespace mneme::loader
