// Times the value gather from a table larger than the caches. Prints the median of repetitions (a
// shared host's mean follows its neighbours), bytes of distinct rows per second and what part that
// is of reading as many random rows of the same size, with the same prefetching, measured in the
// same run.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <random>
#include <utility>
#include <vector>

#include "kernels/device/buffer.h"
#include "kernels/value_gather/value_gather.h"

namespace mneme::kernels {
namespace {

constexpr int kRepetitions = 41;

template <class F>
double MedianSeconds(const F& f) {
  f(0);  // The first repetition warms code and pages.
  std::vector<double> seconds;
  for (int i = 1; i <= kRepetitions; ++i) {
    const auto start = std::chrono::steady_clock::now();
    f(i);
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + kRepetitions / 2, seconds.end());
  return seconds[kRepetitions / 2];
}

// Sums the named rows, prefetching eight rows ahead: the limit of random rows.
uint64_t ReadRows(const ValueTable& table, const int32_t* slot, int64_t count) {
  constexpr int64_t kAhead = 8;
  uint64_t sums[8] = {};
  for (int64_t i = 0; i < count; ++i) {
    if (i + kAhead < count) {
      const uint8_t* next = table.row(slot[i + kAhead]);
      for (int64_t b = 0; b < table.row_bytes(); b += 64) __builtin_prefetch(next + b);
    }
    const uint64_t* words = reinterpret_cast<const uint64_t*>(table.row(slot[i]));
    for (int64_t w = 0; w + 8 <= table.row_bytes() / 8; w += 8) {
      for (int j = 0; j < 8; ++j) sums[j] += words[w + j];
    }
  }
  uint64_t sum = 0;
  for (uint64_t s : sums) sum += s;
  return sum;
}

struct Case {
  const char* name;
  int64_t tokens;
  int32_t selections, pre_width, width;
  int64_t rows;
  bool prefetched;  // ValuePrefetch ran before the clock started.
};

void RunCase(const Case& c) {
  const int64_t stride = (int64_t{c.pre_width} + c.width) * 2;
  Buffer data = std::move(Buffer::Allocate(c.rows * stride, Pages::kHuge)).value();
  for (int64_t i = 0; i < c.rows * stride / 2; ++i) {
    reinterpret_cast<Bf16*>(data.data())[i] = Bf16{static_cast<uint16_t>(0x3f00 + i % 251)};
  }
  const ValueTable table{data.data(), c.rows, stride, DType::kBf16, c.pre_width, c.width};
  std::mt19937 random(3);
  const int64_t uses = c.tokens * c.selections;
  std::vector<int32_t> slots(uses * (2 * kRepetitions + 2));
  for (int32_t& s : slots) s = static_cast<int32_t>(random() % c.rows);
  std::vector<float> pre_query(c.tokens * c.pre_width, 0.01f);
  std::vector<float> weight(uses * 2, 0.5f);
  std::vector<float> y(c.tokens * c.width);
  Buffer scratch =
      std::move(Buffer::Allocate(ValueGatherScratchBytes(c.tokens, c.selections), Pages::kNormal))
          .value();
  ValueGatherArgs args;
  args.table = table;
  args.pre_query = MakeMatrix<const float>(pre_query.data(), c.tokens, c.pre_width);
  args.weight = MakeMatrix<const float>(weight.data(), c.tokens, 2 * c.selections);
  args.cores = 2;
  args.y = MakeMatrix(y.data(), c.tokens, c.width);
  args.scratch = scratch.data();
  const ValueGatherFn fn = ResolveValueGather(DType::kBf16, DetectIsa());
  // Memory that was mapped a moment ago may read many times slower (0.2 instead of 3.8 GB/s was
  // seen in a virtual machine): meet every row once before any is timed.
  volatile uint64_t sink = ReadRows(table, slots.data(), static_cast<int64_t>(slots.size()));
  std::vector<double> seconds;
  double bytes = 0;
  for (int i = 0; i <= kRepetitions; ++i) {
    args.slot = MakeMatrix<const int32_t>(slots.data() + i * uses, c.tokens, c.selections);
    if (c.prefetched) {
      ValuePrefetch({.table = table, .slot = args.slot});
      const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(50);
      while (std::chrono::steady_clock::now() < until) {
      }
    }
    const auto start = std::chrono::steady_clock::now();
    const Traffic traffic = fn(args);
    const auto end = std::chrono::steady_clock::now();
    bytes = static_cast<double>(traffic.read_bytes[static_cast<int>(TrafficClass::kValueRows)]);
    if (i > 0) seconds.push_back(std::chrono::duration<double>(end - start).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + kRepetitions / 2, seconds.end());
  const double median = seconds[kRepetitions / 2];
  const double limit = MedianSeconds([&](int i) {
    sink = sink + ReadRows(table, slots.data() + (kRepetitions + 1 + i) * uses, uses);
  });
  const double limit_rate = static_cast<double>(uses * stride) / limit;
  std::printf("%-40s %10.2f us  %7.2f GB/s (%5.1f %% of random rows at %.2f), %lld MB table\n",
              c.name, median * 1e6, bytes / median * 1e-9, 100 * bytes / median / limit_rate,
              limit_rate * 1e-9, static_cast<long long>(c.rows * stride >> 20));
}

}  // namespace
}  // namespace mneme::kernels

int main() {
  using mneme::kernels::Case;
  for (const Case& c : {
           Case{"demo, 1 token", 1, 16, 128, 64, 24576, false},
           Case{"demo, 1 token, prefetched", 1, 16, 128, 64, 24576, true},
           Case{"demo, 64 tokens", 64, 16, 128, 64, 24576, false},
           Case{"1b-7b, 1 token", 1, 32, 256, 768, int64_t{1} << 20, false},
           Case{"1b-7b, 1 token, prefetched", 1, 32, 256, 768, int64_t{1} << 20, true},
           Case{"1b-7b, 16 tokens", 16, 32, 256, 768, int64_t{1} << 20, false},
           Case{"1b-7b, 512 tokens", 512, 32, 256, 768, int64_t{1} << 20, false},
           Case{"1b-7b, 512 tokens of 4096 rows", 512, 32, 256, 768, 4096, false},
       }) {
    mneme::kernels::RunCase(c);
  }
  return 0;
}
