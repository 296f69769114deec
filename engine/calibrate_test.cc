#include "engine/calibrate.h"

#include <gtest/gtest.h>

#include "engine/plan/cost_model.h"

namespace mneme {
namespace {

TEST(CalibrateTest, AnyMachineIsAClusterThatMakesSense) {
  const absl::StatusOr<plan::Cluster> cluster =
      Calibrate({.ranks = 2, .isa = kernels::DetectIsa(), .bytes = int64_t{16} << 20, .passes = 2});
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  EXPECT_EQ(plan::CheckCluster(*cluster), "");
  EXPECT_EQ(cluster->ranks(), 2);
  ASSERT_EQ(cluster->contended.size(), 2u);
  EXPECT_TRUE(plan::ParseCluster(plan::ClusterJson(*cluster), "f").ok());
  for (const plan::Speed& speed : cluster->contended) {
    // Any machine reads a megabyte a second, none a petabyte.
    EXPECT_GT(speed.bytes_per_second, 1e6);
    EXPECT_LT(speed.bytes_per_second, 1e15);
    EXPECT_GE(speed.arithmetic.size(), 5u);
    for (const plan::Arithmetic& a : speed.arithmetic) {
      EXPECT_GT(a.bf16_flops, 1e3);
      EXPECT_LT(a.bf16_flops, 1e15);
    }
  }
  EXPECT_GT(cluster->axes[0].link.seconds, 0);
  EXPECT_LT(cluster->axes[0].link.seconds, 1);
}

TEST(CalibrateTest, TheFasterFigureCounts) {
  plan::Cluster a = *plan::NamedCluster("1xcpu");
  a.contended = {{1, 10, 3, {{1, 5, 7}, {8, 6, 6}}}};
  a.axes[0].link = {100, 2, 0};
  plan::Cluster b = a;
  b.contended = {{1, 12, 4, {{1, 4, 8}, {8, 9, 1}}}};
  b.axes[0].link = {90, 1, 0};
  const plan::Cluster fastest = FastestOf(a, b);
  EXPECT_EQ(fastest.contended[0].bytes_per_second, 12);
  EXPECT_EQ(fastest.contended[0].row_seconds, 3);
  EXPECT_EQ(fastest.contended[0].arithmetic[0].bf16_flops, 5);
  EXPECT_EQ(fastest.contended[0].arithmetic[0].f32_flops, 8);
  EXPECT_EQ(fastest.contended[0].arithmetic[1].bf16_flops, 9);
  EXPECT_EQ(fastest.axes[0].link.bytes_per_second, 100);
  EXPECT_EQ(fastest.axes[0].link.seconds, 1);
  EXPECT_EQ(fastest.memory[0].bytes_per_second, 12);
  EXPECT_EQ(fastest.arithmetic[1].f32_flops, 6);
}

TEST(CalibrateTest, WhatCannotBeMeasuredIsRefused) {
  EXPECT_EQ(Calibrate({.ranks = 65}).status().message(),
            "cannot calibrate 65 ranks with 5 passes over 536870912 bytes");
  EXPECT_FALSE(Calibrate({.bytes = 1}).ok());
  EXPECT_FALSE(Calibrate({.passes = 0}).ok());
}

}  // namespace
}  // namespace mneme
