// What one core of this machine can do at most, measured: the denominators of every benchmark's
// "% of the limit". Measured in the run that uses them, for machines, neighbours and frequencies
// change. One thread; the caller decides where it is pinned.
#ifndef MNEME_KERNELS_SIMD_MACHINE_LIMITS_H_
#define MNEME_KERNELS_SIMD_MACHINE_LIMITS_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include "kernels/device/isa.h"

namespace mneme::kernels {

// Bytes per second at which one thread reads `bytes` bytes in address order, again and again, with
// the widest loads of `isa` and nothing to do but keep them: the best of several passes. With bytes
// far beyond the caches this is memory, with less it is the cache that holds them.
// REQUIRES: bytes > 0; isa <= DetectIsa(). 0 where the memory cannot be had.
double MeasureReadBandwidth(int64_t bytes, Isa isa);

// The same of `threads` threads at once, each with its part of `bytes`: their sum. At most 1 GiB is
// read in all. REQUIRES: threads >= 1.
double MeasureReadBandwidth(int64_t bytes, Isa isa, int32_t threads);

// Floating-point operations per second (a multiply-add counts two) of independent multiply-adds on
// registers: the best of several passes.
double MeasureMulAddPeak(Isa isa);

struct Timing {
  double median_s = 0;
  double p99_s = 0;
};

// Calls f() until `budget_s` seconds have passed (at least 5 times) and times each call, or each
// group of calls where one is too short for the clock. The median, because the machine's other
// work only ever adds time.
template <class F>
Timing TimeCalls(double budget_s, F f) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [](Clock::duration d) { return std::chrono::duration<double>(d).count(); };
  f();
  const Clock::time_point warm = Clock::now();
  f();
  const double once = seconds(Clock::now() - warm);
  const int group = once > 2e-6 ? 1 : static_cast<int>(2e-6 / std::max(once, 2e-8)) + 1;
  std::vector<double> times;
  const Clock::time_point start = Clock::now();
  while (times.size() < 5 || seconds(Clock::now() - start) < budget_s) {
    const Clock::time_point before = Clock::now();
    for (int i = 0; i < group; ++i) f();
    times.push_back(seconds(Clock::now() - before) / group);
  }
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times[times.size() * 99 / 100]};
}

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_SIMD_MACHINE_LIMITS_H_
