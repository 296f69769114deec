#include "loader/families/shapes.h"

#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

TEST(ShapesTest, AreOfThePublishedSize) {
  const ModelDescription small = DescribeShape("ultramem-1b-7b", 0).value();
  EXPECT_EQ(small.architecture, "ultramem_v2");
  EXPECT_EQ(small.layers, 16);
  EXPECT_EQ(small.ffn.hidden, 5632);
  ASSERT_TRUE(small.memory.has_value());
  // 6.0 M slots of 1024 values, 6.1 B in all.
  EXPECT_NEAR(static_cast<double>(small.memory->slots), 6.0e6, 0.05e6);
  EXPECT_EQ(small.memory->value_dim + small.memory->pre_value_dim, 1024);
  EXPECT_EQ(small.memory->top_k, 32);
  const ModelDescription large = DescribeShape("ultramem-2.5b-120b", 0).value();
  EXPECT_EQ(large.layers, 32);
  EXPECT_EQ(large.ffn.hidden, 6656);
  // 91.7 M rows of 1280 values.
  EXPECT_NEAR(static_cast<double>(large.memory->slots), 91.7e6, 0.1e6);
}

TEST(ShapesTest, OfAMixtureOfExpertsToo) {
  const ModelDescription model = DescribeShape("olmoe-1b-7b", 0).value();
  ASSERT_TRUE(model.moe.has_value());
  const double expert = 3.0 * static_cast<double>(model.dim * model.moe->hidden);
  const double rest = static_cast<double>(model.dim) *
                      (2.0 * static_cast<double>(model.embedding_size) +
                       static_cast<double>(model.layers * (4 * model.dim + model.moe->experts)));
  const auto parameters = [&](int64_t experts) {
    return rest + static_cast<double>(model.layers * experts) * expert;
  };
  // 6.9 B parameters, of which a token uses 1.3 B.
  EXPECT_NEAR(parameters(model.moe->experts), 6.92e9, 0.01e9);
  EXPECT_NEAR(parameters(model.moe->top_k), 1.28e9, 0.01e9);
  EXPECT_EQ(model.attention.heads * model.attention.head_dim, model.dim);
  EXPECT_EQ(DescribeShape("olmoe-1b-7b", 3).value().layers, 3);
}

TEST(ShapesTest, MayHaveFewerLayers) {
  const MemoryDescription whole = *DescribeShape("ultramem-1b-7b", 0).value().memory;
  for (int64_t layers : {1, 2, 15}) {
    const ModelDescription model = DescribeShape("ultramem-1b-7b", layers).value();
    EXPECT_EQ(model.layers, layers);
    EXPECT_EQ(model.memory->layers.size(), static_cast<size_t>(layers));
    // Each layer is what it is in the whole model.
    EXPECT_EQ(model.memory->key_count, whole.key_count);
    EXPECT_EQ(model.memory->window, whole.window);
    EXPECT_EQ(model.memory->offset(layers - 1), whole.offset(layers - 1));
    EXPECT_EQ(model.memory->slots, whole.slots / 16 * layers);
  }
}

TEST(ShapesTest, WhatIsNotThereIsNamed) {
  EXPECT_EQ(DescribeShape("gpt", 0).status().message(),
            "there is no shape 'gpt'; there are ultramem-1b-7b, ultramem-2.5b-120b, olmoe-1b-7b");
  EXPECT_EQ(DescribeShape("ultramem-1b-7b", 17).status().message(),
            "layers is 17, ultramem-1b-7b has 16");
  EXPECT_EQ(DescribeShape("ultramem-1b-7b", -1).status().code(),
            absl::StatusCode::kInvalidArgument);
  for (const std::string& name : ShapeNames()) EXPECT_TRUE(DescribeShape(name, 0).ok()) << name;
}

}  // namespace
}  // namespace mneme::loader
