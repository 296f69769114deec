#include "loader/pack/key_norms.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

// Two keys of three values and two ranks: [key, κ, ρ].
const std::vector<float> kKeys = {1, 10, 2, 20, 3, 60, -1, 0, -1, 0, -1, 0};

StoredTensor Tensor() {
  StoredTensor tensor;
  tensor.shape = {2, 3, 2};
  tensor.bytes = {reinterpret_cast<const uint8_t*>(kKeys.data()), 4 * kKeys.size()};
  return tensor;
}

TEST(KeyNormsTest, RmsOfEachRank) {
  NormDescription norm;
  norm.eps = 0.5f;
  std::vector<float> inverse(4);
  ComputeKeyNorms(Tensor(), {2, 3, 2}, norm, Rounding::kExact, inverse, {});
  EXPECT_FLOAT_EQ(inverse[0], static_cast<float>(1 / std::sqrt(14.0 / 3 + 0.5)));
  EXPECT_FLOAT_EQ(inverse[1], static_cast<float>(1 / std::sqrt(4100.0 / 3 + 0.5)));
  EXPECT_FLOAT_EQ(inverse[2], static_cast<float>(1 / std::sqrt(1.5)));
  EXPECT_FLOAT_EQ(inverse[3], static_cast<float>(1 / std::sqrt(0.5)));
}

TEST(KeyNormsTest, MeanAndDeviationOfEachRank) {
  NormDescription norm;
  norm.kind = NormKind::kLayer;
  norm.eps = 0.5f;
  std::vector<float> inverse(4);
  std::vector<float> mean(4);
  ComputeKeyNorms(Tensor(), {2, 3, 2}, norm, Rounding::kExact, inverse, mean);
  EXPECT_EQ(mean, (std::vector<float>{2, 30, -1, 0}));
  EXPECT_FLOAT_EQ(inverse[0], static_cast<float>(1 / std::sqrt(2.0 / 3 + 0.5)));
  EXPECT_FLOAT_EQ(inverse[1], static_cast<float>(1 / std::sqrt(1400.0 / 3 + 0.5)));
  EXPECT_FLOAT_EQ(inverse[2], static_cast<float>(1 / std::sqrt(0.5)));
}

}  // namespace
}  // namespace mneme::loader
