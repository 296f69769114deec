#include "engine/graph/sbp.h"

#include "gtest/gtest.h"

namespace mneme::graph {
namespace {

TEST(SbpTest, NamesReadLikeTheDesign) {
  EXPECT_EQ(SbpName(Sbp::B()), "B");
  EXPECT_EQ(SbpName(Sbp::S(1)), "S(1)");
  EXPECT_EQ(SbpName(Sbp::P()), "P");
  EXPECT_EQ(SignatureName({{Sbp::B()}, {Sbp::S(0)}, {Sbp::S(1)}}), "(B, S(0)) -> S(1)");
  EXPECT_EQ(SignatureName({{Sbp::S(1)}, {}, {}}), "(S(1)) -> ()");
}

TEST(SbpTest, SplitsOfDifferentAxesDiffer) {
  EXPECT_NE(Sbp::S(0), Sbp::S(1));
  EXPECT_EQ(Sbp::S(1), Sbp::S(1));
}

}  // namespace
}  // namespace mneme::graph
