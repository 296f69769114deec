#include "kernels/simd/machine_limits.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <thread>
#include <vector>

#include "kernels/device/buffer.h"
#include "kernels/simd/simd.h"

#define MNEME_SIMD_BODY "kernels/simd/machine_limits_simd.inl"
#include "kernels/simd/for_each_isa.inl"

namespace mneme::kernels {
namespace {

// Far beyond caches, and not so much that a loaded model leaves no room for it.
constexpr int64_t kMostBytes = int64_t{1} << 30;

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

double MeasureReadBandwidth(int64_t bytes, Isa isa) {
  absl::StatusOr<Buffer> buffer = Buffer::Allocate(bytes, Pages::kHuge);
  if (!buffer.ok()) return 0;
  // Touched, or every page would be the one page of zeros.
  std::memset(buffer->data(), 1, static_cast<size_t>(bytes));
  const auto read = MNEME_SIMD_SELECT(isa, ReadAll);
  const float* data = reinterpret_cast<const float*>(buffer->data());
  const int64_t floats = bytes / 4;
  // About 32 MB per timed pass, so that a cache's speed is not the clock's.
  const int64_t repeats = std::max<int64_t>(1, (int64_t{32} << 20) / bytes);
  volatile float sink = read(data, floats);
  double best = 0;
  for (int pass = 0; pass < 7; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    for (int64_t i = 0; i < repeats; ++i) sink = read(data, floats);
    best = std::max(best, static_cast<double>(bytes * repeats) / SecondsSince(start));
  }
  static_cast<void>(sink);
  return best;
}

double MeasureReadBandwidth(int64_t bytes, Isa isa, int32_t threads) {
  const int64_t each = std::max<int64_t>(1, std::min(bytes, kMostBytes) / threads);
  std::vector<double> speeds(static_cast<size_t>(threads));
  std::vector<std::thread> readers;
  readers.reserve(speeds.size());
  for (double& speed : speeds) {
    readers.emplace_back([&speed, each, isa] { speed = MeasureReadBandwidth(each, isa); });
  }
  for (std::thread& reader : readers) reader.join();
  return std::accumulate(speeds.begin(), speeds.end(), 0.0);
}

double MeasureMulAddPeak(Isa isa) {
  const auto chains = MNEME_SIMD_SELECT(isa, MulAddChains);
  double best = 0;
  for (int pass = 0; pass < 7; ++pass) {
    volatile float seed = 0.5f;
    float sink = seed;
    const auto start = std::chrono::steady_clock::now();
    const int64_t done = chains(1'000'000, &sink);
    best = std::max(best, 2.0 * static_cast<double>(done) / SecondsSince(start));
    seed = sink;
  }
  return best;
}

}  // namespace mneme::kernels
