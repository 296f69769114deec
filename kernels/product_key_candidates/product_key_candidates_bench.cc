// Times the product-key scores and top-k. Prints the median of repetitions (a shared host's mean
// follows its neighbours), bytes of keys per second, what part of a sequential read of as many
// bytes, measured in the same run, that is, and GFLOP/s for many tokens.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <random>
#include <utility>
#include <vector>

#include "kernels/device/buffer.h"
#include "kernels/product_key_candidates/product_key_candidates.h"

namespace mneme::kernels {
namespace {

template <class F>
double MedianSeconds(int repetitions, const F& f) {
  f(0);  // The first repetition warms caches and pages.
  std::vector<double> seconds;
  for (int i = 0; i < repetitions; ++i) {
    const auto start = std::chrono::steady_clock::now();
    f(i + 1);
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + repetitions / 2, seconds.end());
  return seconds[repetitions / 2];
}

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
  DType dtype;
  int32_t tokens, key_count, key_dim, top_k;
  int32_t layers;  // Key sets used in turn, so that the keys come from as far as in a real step.
};

void RunCase(const Case& c) {
  const int64_t cols = int64_t{c.key_dim} * 2;
  const int64_t rows = int64_t{2} * c.key_count;
  const int64_t key_bytes = rows * cols * DTypeBytes(c.dtype);
  Buffer keys = std::move(Buffer::Allocate(key_bytes * c.layers, Pages::kHuge)).value();
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < rows * cols * c.layers; ++i) {
    const float x = normal(random);
    if (c.dtype == DType::kF32) {
      reinterpret_cast<float*>(keys.data())[i] = x;
    } else {
      reinterpret_cast<Bf16*>(keys.data())[i] = ToBf16(x);
    }
  }
  std::vector<float> query(int64_t{c.tokens} * 2 * c.key_dim);
  for (float& x : query) x = normal(random);
  const std::vector<float> inverse(rows * 2, 0.9f);
  const std::vector<float> weight(c.key_dim, 1.1f);
  const float u[2] = {0.8f, 0.6f};
  std::vector<int32_t> index(int64_t{c.tokens} * 2 * c.top_k);
  std::vector<float> score(index.size() * 2);
  const ProductKeyCandidatesShape shape{1, c.key_count, c.key_dim, 2, c.top_k};
  Buffer scratch =
      std::move(Buffer::Allocate(ProductKeyCandidatesScratchBytes(c.tokens, shape), Pages::kNormal))
          .value();
  ProductKeyCandidatesArgs args;
  args.query = MakeMatrix<const float>(query.data(), c.tokens, 2 * c.key_dim);
  args.heads = 1;
  args.key_count = c.key_count;
  args.key_dim = c.key_dim;
  args.rank = 2;
  args.top_k = c.top_k;
  args.inverse_norm = inverse.data();
  args.norm_weight = weight.data();
  args.row_direction = u;
  args.column_direction = u;
  args.index = MakeMatrix(index.data(), c.tokens, 2 * c.top_k);
  args.score = MakeMatrix(score.data(), c.tokens, 4 * c.top_k);
  args.scratch = scratch.data();
  const ProductKeyCandidatesFn fn = ResolveProductKeyCandidates(c.dtype, DetectIsa());
  const auto layer = [&](int i) { return keys.data() + i % c.layers * key_bytes; };
  const double seconds = MedianSeconds(41, [&](int i) {
    args.keys = TensorView{layer(i), c.dtype, rows, cols, cols};
    fn(args);
  });
  volatile uint64_t sink = 0;
  const double limit =
      MedianSeconds(41, [&](int i) { sink = sink + ReadAll(layer(i), key_bytes); });
  std::printf(
      "%-32s %10.2f us  %7.2f GB/s (%5.1f %% of a sequential read at %.1f)  %6.1f GFLOP/s\n",
      c.name, seconds * 1e6, key_bytes / seconds * 1e-9, 100 * limit / seconds,
      key_bytes / limit * 1e-9, 2.0 * rows * cols * c.tokens / seconds * 1e-9);
}

}  // namespace
}  // namespace mneme::kernels

int main() {
  using mneme::kernels::Case;
  using mneme::kernels::DType;
  for (const Case& c : {
           Case{"demo f32, 1 token", DType::kF32, 1, 220, 64, 16, 1},
           Case{"demo bf16, 1 token", DType::kBf16, 1, 220, 64, 16, 1},
           Case{"demo bf16, 64 tokens", DType::kBf16, 64, 220, 64, 16, 1},
           Case{"1b-7b bf16, 1 token", DType::kBf16, 1, 1224, 512, 32, 16},
           Case{"1b-7b f32, 1 token", DType::kF32, 1, 1224, 512, 32, 16},
           Case{"1b-7b bf16, 8 tokens", DType::kBf16, 8, 1224, 512, 32, 16},
           Case{"1b-7b bf16, 512 tokens", DType::kBf16, 512, 1224, 512, 32, 4},
       }) {
    mneme::kernels::RunCase(c);
  }
  return 0;
}
