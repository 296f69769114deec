#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/attention/attention.h"

namespace mneme::kernels {
namespace {

float Score(const AttentionArgs& args, const float* q, const float* key) {
  float dot = 0;
  for (int32_t d = 0; d < args.cache.head_dim; ++d) dot += q[d] * key[d];
  return dot * args.scale;
}

// One row of one head: [first, last] are the positions it sees.
void AttendRow(const AttentionArgs& args, const AttentionSpan& span, const float* q,
               int32_t kv_head, int32_t first, int32_t last, float* y) {
  const KvCacheView& cache = args.cache;
  const int32_t dim = cache.head_dim;
  const auto inside = [&](int32_t p) { return int64_t{p % cache.block_size} * dim; };
  const auto block = [&](int32_t p) { return span.block_table[p / cache.block_size]; };
  float max = -std::numeric_limits<float>::infinity();
  for (int32_t p = first; p <= last; ++p) {
    max = std::max(max, Score(args, q, cache.Keys(block(p), kv_head) + inside(p)));
  }
  float sum = 0;
  std::vector<float> total(dim);
  for (int32_t p = first; p <= last; ++p) {
    const float weight = std::exp(Score(args, q, cache.Keys(block(p), kv_head) + inside(p)) - max);
    sum += weight;
    const float* value = cache.Values(block(p), kv_head) + inside(p);
    for (int32_t d = 0; d < dim; ++d) total[d] += weight * value[d];
  }
  for (int32_t d = 0; d < dim; ++d) y[d] = total[d] / sum;
}

}  // namespace

Traffic AttentionReference(const AttentionArgs& args) {
  Traffic traffic;
  const KvCacheView& cache = args.cache;
  for (const AttentionSpan& span : args.spans) {
    for (int32_t i = 0; i < span.rows; ++i) {
      const int64_t row = span.first_row + i;
      const int32_t last = span.first_position + i;
      const int32_t first = args.window > 0 ? std::max(0, last - args.window + 1) : 0;
      for (int32_t j = 0; j < args.heads; ++j) {
        const int64_t column = int64_t{j} * cache.head_dim;
        AttendRow(args, span, args.q.row(row) + column, j * cache.kv_heads / args.heads, first,
                  last, args.y.row(row) + column);
      }
      const uint64_t row_bytes = uint64_t{sizeof(float)} * cache.head_dim;
      const uint64_t kv_bytes = (last - first + 1) * 2 * cache.kv_heads * row_bytes;
      traffic.Read(TrafficClass::kKv, kv_bytes);
      traffic.Read(TrafficClass::kActivations, args.heads * row_bytes);
      traffic.Write(TrafficClass::kActivations, args.heads * row_bytes);
      if (args.token_bytes != nullptr) args.token_bytes[row] += static_cast<double>(kv_bytes);
    }
  }
  return traffic;
}

}  // namespace mneme::kernels
