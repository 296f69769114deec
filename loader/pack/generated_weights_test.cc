#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "loader/pack/packed_weights.h"

namespace mneme::loader {
namespace {

using kernels::Bf16;
using kernels::DType;

const WeightId kMatrix{Role::kQuery, 0};
const WeightId kTable{Role::kMemoryTable, -1};
const WeightId kNorm{Role::kFinalNormWeight};
const WeightId kShuffle{Role::kMemoryShuffle, 0};
const WeightId kCos{Role::kRopeCos};
const WeightId kSin{Role::kRopeSin};

PackedWeights Generate(uint64_t seed) {
  ModelDescription model;
  model.attention.head_dim = 16;
  const std::vector<GeneratedWeight> weights = {
      {kMatrix, DType::kBf16, 2048, 1024, 0}, {kTable, DType::kBf16, 1000, 48, 128, 0, 16},
      {kNorm, DType::kF32, 1, 64, 0},         {kShuffle, DType::kI32, 1, 500, 0},
      {kCos, DType::kF32, 32, 8, 0},          {kSin, DType::kF32, 32, 8, 0}};
  return PackedWeights::Generate(model, weights, seed).value();
}

TEST(GeneratedWeightsTest, AreSensibleNumbers) {
  const PackedWeights weights = Generate(1);
  const auto matrix = weights.at(kMatrix).view.As<Bf16>();
  std::set<std::vector<uint16_t>> rows;
  for (int64_t r = 0; r < matrix.rows; ++r) {
    std::vector<uint16_t> row;
    for (int64_t i = 0; i < matrix.cols; ++i) {
      const float value = std::abs(kernels::ToFloat(matrix.row(r)[i]));
      ASSERT_GE(value, 0.0009f);
      ASSERT_LE(value, 0.051f);
      row.push_back(matrix.row(r)[i].bits);
    }
    rows.insert(row);
  }
  EXPECT_EQ(rows.size(), 2048u);
  const auto norm = weights.at(kNorm).view.As<float>();
  EXPECT_TRUE(std::all_of(norm.data, norm.data + 64, [](float x) { return x == 1; }));
  const auto shuffle = weights.at(kShuffle).view.As<int32_t>();
  const std::set<int32_t> slots(shuffle.data, shuffle.data + 500);
  EXPECT_EQ(slots.size(), 500u);
  EXPECT_EQ(*slots.rbegin(), 499);
  EXPECT_FALSE(std::is_sorted(shuffle.data, shuffle.data + 500));
  // The first frequency is 1.
  EXPECT_FLOAT_EQ(weights.at(kCos).view.As<float>().row(3)[0], std::cos(3.0f));
  EXPECT_FLOAT_EQ(weights.at(kSin).view.As<float>().row(3)[0], std::sin(3.0f));
}

TEST(GeneratedWeightsTest, TablesHaveTheirRowsApart) {
  const PackedWeights weights = Generate(1);
  const PackedTable& table = weights.at(kTable).table;
  EXPECT_EQ(table.rows, 1000);
  EXPECT_EQ(table.pre_width, 16);
  EXPECT_EQ(table.width, 32);
  EXPECT_EQ(table.row_stride_bytes, 128);
  EXPECT_NE(0, std::memcmp(table.data, table.data + 128, 96));
}

TEST(GeneratedWeightsTest, TheSeedDecides) {
  const PackedWeights a = Generate(1);
  const PackedWeights b = Generate(1);
  const PackedWeights c = Generate(2);
  const size_t bytes = 2048 * 1024 * 2;
  EXPECT_EQ(0, std::memcmp(a.at(kMatrix).view.data, b.at(kMatrix).view.data, bytes));
  EXPECT_NE(0, std::memcmp(a.at(kMatrix).view.data, c.at(kMatrix).view.data, bytes));
}

}  // namespace
}  // namespace mneme::loader
