#include "kernels/kv_append/kv_append.h"

#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::kernels {
namespace {

constexpr float kUntouched = -12345.0f;

// Three sequences (a chunk that crosses blocks, a decode row, a chunk in mid-block) on blocks in
// scattered order.
struct Step {
  int32_t kv_heads;
  int32_t head_dim;
  int32_t block_size;
  std::vector<float> k, v, keys, values;
  std::vector<std::vector<int32_t>> tables{{5, 0, 3}, {1}, {4, 2}};
  std::vector<AttentionSpan> spans;
  std::vector<double> token_bytes;

  Step(int32_t kv_heads, int32_t head_dim, int32_t block_size)
      : kv_heads(kv_heads), head_dim(head_dim), block_size(block_size) {
    spans = {{0, block_size + 3, 2, tables[0].data()},
             {block_size + 3, 1, 7, tables[1].data()},
             {block_size + 4, 5, block_size - 2, tables[2].data()}};
    const int64_t tokens = block_size + 9;
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (auto* x : {&k, &v}) {
      x->resize(tokens * kv_heads * head_dim);
      for (float& value : *x) value = normal(random);
    }
    keys.assign(int64_t{6} * kv_heads * block_size * head_dim, kUntouched);
    values = keys;
    token_bytes.assign(tokens, 1.0);
  }

  KvAppendArgs Args() {
    const int64_t tokens = block_size + 9;
    KvAppendArgs args;
    args.k = MakeMatrix<const float>(k.data(), tokens, kv_heads * head_dim);
    args.v = MakeMatrix<const float>(v.data(), tokens, kv_heads * head_dim);
    args.cache = KvCacheView{keys.data(),
                             values.data(),
                             int64_t{kv_heads} * block_size * head_dim,
                             int64_t{block_size} * head_dim,
                             block_size,
                             kv_heads,
                             head_dim};
    args.spans = spans;
    args.token_bytes = token_bytes.data();
    return args;
  }
};

TEST(KvAppendTest, StoresExactlyWhatTheReferenceStores) {
  for (int32_t kv_heads : {1, 3}) {
    for (int32_t head_dim : {1, 7, 64}) {
      for (int32_t block_size : {16, 32}) {
        Step expected(kv_heads, head_dim, block_size);
        Step actual = expected;
        actual.spans = {};
        for (size_t i = 0; i < 3; ++i) {
          actual.spans.push_back(expected.spans[i]);
          actual.spans[i].block_table = actual.tables[i].data();
        }
        const Traffic a = KvAppendReference(expected.Args());
        const Traffic b = ResolveKvAppend(DetectIsa())(actual.Args());
        EXPECT_EQ(expected.keys, actual.keys);
        EXPECT_EQ(expected.values, actual.values);
        EXPECT_EQ(expected.token_bytes, actual.token_bytes);
        EXPECT_TRUE(a == b);
      }
    }
  }
}

TEST(KvAppendTest, WritesOnlyTheNamedPositionsAndCountsTheirBytes) {
  Step step(2, 4, 16);
  const Traffic traffic = ResolveKvAppend(DetectIsa())(step.Args());
  const int64_t tokens = 25;
  int64_t written = 0;
  for (float x : step.keys) written += x != kUntouched;
  EXPECT_EQ(written, tokens * 2 * 4);
  // Position 2 of the first sequence is row 2 of block 5.
  EXPECT_EQ(step.keys[(5 * 2 + 0) * 16 * 4 + 2 * 4], step.k[0]);
  // The last row: position 18 of the third sequence, row 2 of block 2, head 1.
  EXPECT_EQ(step.values[(2 * 2 + 1) * 16 * 4 + 2 * 4 + 3], step.v[24 * 8 + 7]);
  EXPECT_EQ(traffic.written_bytes[static_cast<int>(TrafficClass::kKv)], 25u * 2 * 8 * 4);
  for (double bytes : step.token_bytes) EXPECT_EQ(bytes, 1.0 + 2 * 8 * 4);
}

}  // namespace
}  // namespace mneme::kernels
