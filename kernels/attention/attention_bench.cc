// Times attention at decode and prefill shapes. Prints the median of repetitions (a shared host's
// mean follows its neighbours), bytes of the KV cache per second and, measured in the same run,
// what part of a sequential read of as many bytes that is; for prefill GFLOP/s.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <random>
#include <utility>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/device/buffer.h"

namespace mneme::kernels {
namespace {

template <class F>
double MedianSeconds(int repetitions, const F& f) {
  f();  // The first repetition warms caches and pages.
  std::vector<double> seconds;
  for (int i = 0; i < repetitions; ++i) {
    const auto start = std::chrono::steady_clock::now();
    f();
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + repetitions / 2, seconds.end());
  return seconds[repetitions / 2];
}

// Sums the buffer as eight independent streams of 64-bit words: the limit a decode is held against.
uint64_t ReadAll(const uint8_t* data, int64_t bytes) {
  const uint64_t* words = reinterpret_cast<const uint64_t*>(data);
  uint64_t sums[8] = {};
  for (int64_t i = 0; i + 8 <= bytes / 8; i += 8) {
    for (int j = 0; j < 8; ++j) sums[j] += words[i + j];
  }
  uint64_t sum = 0;
  for (uint64_t s : sums) sum += s;
  return sum;
}

struct Case {
  const char* name;
  int32_t heads, kv_heads, head_dim, rows, context;
  int32_t sequences;
};

void RunCase(const Case& c) {
  constexpr int32_t kBlock = 32;
  const int32_t blocks = (c.context + kBlock - 1) / kBlock;
  const int64_t head_stride = int64_t{kBlock} * c.head_dim;
  const int64_t block_stride = head_stride * c.kv_heads;
  const int64_t floats = block_stride * blocks * c.sequences;
  Buffer keys = std::move(Buffer::Allocate(floats * 4, Pages::kHuge)).value();
  Buffer values = std::move(Buffer::Allocate(floats * 4, Pages::kHuge)).value();
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (Buffer* b : {&keys, &values}) {
    float* x = reinterpret_cast<float*>(b->data());
    for (int64_t i = 0; i < floats; ++i) x[i] = i < 4096 ? normal(random) : x[i - 4096];
  }
  std::vector<int32_t> table(blocks * c.sequences);
  for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<int32_t>(i);
  std::shuffle(table.begin(), table.end(), random);
  std::vector<AttentionSpan> spans;
  for (int32_t s = 0; s < c.sequences; ++s) {
    spans.push_back({s * c.rows, c.rows, c.context - c.rows, table.data() + s * blocks});
  }
  const int64_t tokens = int64_t{c.rows} * c.sequences;
  std::vector<float> q(tokens * c.heads * c.head_dim);
  for (float& x : q) x = normal(random);
  std::vector<float> y(q.size());
  Buffer scratch =
      std::move(Buffer::Allocate(AttentionScratchBytes(c.heads, c.kv_heads, c.head_dim, c.context),
                                 Pages::kNormal))
          .value();
  AttentionArgs args;
  args.q = MakeMatrix<const float>(q.data(), tokens, int64_t{c.heads} * c.head_dim);
  args.y = MakeMatrix(y.data(), tokens, int64_t{c.heads} * c.head_dim);
  args.cache = {reinterpret_cast<float*>(keys.data()),
                reinterpret_cast<float*>(values.data()),
                block_stride,
                head_stride,
                kBlock,
                c.kv_heads,
                c.head_dim};
  args.spans = spans;
  args.heads = c.heads;
  args.scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim));
  args.scratch = scratch.data();
  const AttentionFn fn = ResolveAttention(DetectIsa());
  Traffic traffic;
  const double seconds = MedianSeconds(21, [&] { traffic = fn(args); });
  volatile uint64_t sink = 0;
  const double limit = MedianSeconds(21, [&] {
    sink = sink + ReadAll(keys.data(), floats * 4) + ReadAll(values.data(), floats * 4);
  });
  const double bytes = traffic.read_bytes[static_cast<int>(TrafficClass::kKv)];
  const double read_rate = 8.0 * floats / limit;
  double scored = 0;  // Pairs of (row, position).
  for (int32_t i = 0; i < c.rows; ++i) scored += c.context - c.rows + i + 1;
  const double flops = scored * c.sequences * c.heads * c.head_dim * 4;
  std::printf(
      "%-28s %10.1f us  %7.2f GB/s (%5.1f %% of a sequential read at %.1f)  %7.1f GFLOP/s\n",
      c.name, seconds * 1e6, bytes / seconds * 1e-9, 100 * bytes / seconds / read_rate,
      read_rate * 1e-9, flops / seconds * 1e-9);
}

}  // namespace
}  // namespace mneme::kernels

int main() {
  using mneme::kernels::Case;
  for (const Case& c : {
           Case{"demo decode, 64", 4, 4, 64, 1, 64, 1},
           Case{"demo decode, 256", 4, 4, 64, 1, 256, 1},
           Case{"demo prefill 64", 4, 4, 64, 64, 64, 1},
           Case{"1b decode, 1024", 16, 16, 128, 1, 1024, 1},
           Case{"1b decode, 8192", 16, 16, 128, 1, 8192, 1},
           Case{"1b decode, 1024, 8 at once", 16, 16, 128, 1, 1024, 8},
           Case{"gqa 32/8 decode, 8192", 32, 8, 128, 1, 8192, 1},
           Case{"1b prefill 512", 16, 16, 128, 512, 512, 1},
           Case{"1b prefill 256 at 4096", 16, 16, 128, 256, 4096, 1},
       }) {
    mneme::kernels::RunCase(c);
  }
  return 0;
}
