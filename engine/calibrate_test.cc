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

// Of little memory each of many ranks has less than an exchange of the largest size takes.
TEST(CalibrateTest, ManyRanksWithLittleMemoryEach) {
  const absl::StatusOr<plan::Cluster> cluster =
      Calibrate({.ranks = 16, .bytes = int64_t{8} << 20, .passes = 1});
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  EXPECT_EQ(plan::CheckCluster(*cluster), "");
}

TEST(CalibrateTest, WhatCannotBeMeasuredIsRefused) {
  EXPECT_EQ(Calibrate({.ranks = 65}).status().message(),
            "cannot calibrate 65 ranks with 5 passes over 536870912 bytes");
  EXPECT_FALSE(Calibrate({.bytes = 1}).ok());
  EXPECT_FALSE(Calibrate({.passes = 0}).ok());
}

}  // namespace
}  // namespace mneme
