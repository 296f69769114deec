#include <cstring>

#include "kernels/kv_append/kv_append.h"

namespace mneme::kernels {
namespace {

// The rows are read again by the attention that follows at once, so plain stores (through the
// cache), not streaming ones. memcpy already picks the widest moves the machine has.
Traffic KvAppendCpu(const KvAppendArgs& args) {
  const KvCacheView& cache = args.cache;
  const int64_t head_bytes = cache.head_dim * int64_t{sizeof(float)};
  const uint64_t row_bytes = static_cast<uint64_t>(2 * cache.kv_heads * head_bytes);
  uint64_t rows = 0;
  for (const AttentionSpan& span : args.spans) {
    for (int32_t i = 0; i < span.rows; ++i) {
      const int64_t row = span.first_row + i;
      const int32_t position = span.first_position + i;
      const int32_t block = span.block_table[position / cache.block_size];
      const int64_t inside = int64_t{position % cache.block_size} * cache.head_dim;
      const float* k = args.k.row(row);
      const float* v = args.v.row(row);
      for (int32_t h = 0; h < cache.kv_heads; ++h) {
        std::memcpy(cache.Keys(block, h) + inside, k + int64_t{h} * cache.head_dim, head_bytes);
        std::memcpy(cache.Values(block, h) + inside, v + int64_t{h} * cache.head_dim, head_bytes);
      }
      if (args.token_bytes != nullptr) args.token_bytes[row] += static_cast<double>(row_bytes);
    }
    rows += static_cast<uint64_t>(span.rows);
  }
  Traffic traffic;
  traffic.Read(TrafficClass::kActivations, rows * row_bytes);
  traffic.Write(TrafficClass::kKv, rows * row_bytes);
  return traffic;
}

}  // namespace

KvAppendFn ResolveKvAppend(Isa) { return &KvAppendCpu; }

}  // namespace mneme::kernels
