#include "loader/pack/rope_tables.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

constexpr int64_t kPositions = 3;

struct Tables {
  std::vector<float> cos = std::vector<float>(kPositions * 2);
  std::vector<float> sin = std::vector<float>(kPositions * 2);
};

Tables Fill(const AttentionDescription& attention) {
  Tables tables;
  FillRope(attention, {0, kPositions}, tables.cos.data(), tables.sin.data());
  return tables;
}

TEST(RopeTablesTest, WithoutAScalingFrequenciesArePowersOfTheta) {
  AttentionDescription attention;
  attention.head_dim = 4;
  attention.rope.theta = 100.0f;
  const Tables tables = Fill(attention);
  EXPECT_FLOAT_EQ(tables.cos[4], std::cos(2.0f));
  EXPECT_FLOAT_EQ(tables.sin[5], std::sin(0.2f));
}

TEST(RopeTablesTest, ScaledOnesAreAsDescribed) {
  AttentionDescription attention;
  attention.head_dim = 4;
  attention.rope.frequencies = {0.5f, 0.25f};
  attention.rope.scale = 2.0f;
  const Tables tables = Fill(attention);
  EXPECT_FLOAT_EQ(tables.cos[0], 2.0f);
  EXPECT_FLOAT_EQ(tables.cos[4], 2.0f * std::cos(1.0f));
  EXPECT_FLOAT_EQ(tables.sin[5], 2.0f * std::sin(0.5f));
}

TEST(RopeTablesTest, RowsFromAnyPositionAreThoseOfTheWholeTable) {
  AttentionDescription attention;
  attention.head_dim = 4;
  const Tables whole = Fill(attention);
  std::vector<float> cos(4), sin(4);
  FillRope(attention, {1, 2}, cos.data(), sin.data());
  EXPECT_EQ(cos, std::vector<float>(whole.cos.begin() + 2, whole.cos.end()));
  EXPECT_EQ(sin, std::vector<float>(whole.sin.begin() + 2, whole.sin.end()));
}

}  // namespace
}  // namespace mneme::loader
