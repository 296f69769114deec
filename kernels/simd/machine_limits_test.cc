#include "kernels/simd/machine_limits.h"

#include "gtest/gtest.h"

namespace mneme::kernels {
namespace {

TEST(MachineLimitsTest, BandwidthsAndPeaksAreThoseOfARealMachine) {
  for (Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
    if (isa > DetectIsa()) continue;
    const double bandwidth = MeasureReadBandwidth(1 << 20, isa);
    EXPECT_GT(bandwidth, 1e8);
    EXPECT_LT(bandwidth, 1e12);
    const double both = MeasureReadBandwidth(2 << 20, isa, 2);
    EXPECT_GT(both, 1e8);
    EXPECT_LT(both, 2e12);
    const double peak = MeasureMulAddPeak(isa);
    EXPECT_GT(peak, 1e8);
    EXPECT_LT(peak, 1e12);
  }
}

TEST(MachineLimitsTest, TimingsOfShortCallsAreDividedByTheGroup) {
  volatile int calls = 0;
  const Timing timing = TimeCalls(0.001, [&] { calls = calls + 1; });
  EXPECT_GT(calls, 100);
  EXPECT_GT(timing.median_s, 0);
  EXPECT_LT(timing.median_s, 1e-6);
  EXPECT_GE(timing.p99_s, timing.median_s);
}

}  // namespace
}  // namespace mneme::kernels
