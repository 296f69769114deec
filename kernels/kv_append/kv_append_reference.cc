#include "kernels/kv_append/kv_append.h"

namespace mneme::kernels {

Traffic KvAppendReference(const KvAppendArgs& args) {
  Traffic traffic;
  const KvCacheView& cache = args.cache;
  for (const AttentionSpan& span : args.spans) {
    for (int32_t i = 0; i < span.rows; ++i) {
      const int64_t row = span.first_row + i;
      const int32_t position = span.first_position + i;
      const int32_t block = span.block_table[position / cache.block_size];
      const int64_t inside = int64_t{position % cache.block_size} * cache.head_dim;
      for (int32_t h = 0; h < cache.kv_heads; ++h) {
        for (int32_t d = 0; d < cache.head_dim; ++d) {
          cache.Keys(block, h)[inside + d] = args.k.row(row)[h * cache.head_dim + d];
          cache.Values(block, h)[inside + d] = args.v.row(row)[h * cache.head_dim + d];
        }
      }
      const uint64_t bytes = uint64_t{2} * cache.kv_heads * cache.head_dim * sizeof(float);
      traffic.Read(TrafficClass::kActivations, bytes);
      traffic.Write(TrafficClass::kKv, bytes);
      if (args.token_bytes != nullptr) args.token_bytes[row] += static_cast<double>(bytes);
    }
  }
  return traffic;
}

}  // namespace mneme::kernels
