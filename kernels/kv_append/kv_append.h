// Stores the keys and values of a step's tokens in the paged KV cache:
//   cache.keys[block_table[p / block_size]][h][p % block_size][:] = k[t, h * head_dim ..]
// for every row t of every span, p its position, h < cache.kv_heads; values likewise.
//
// k, v: [tokens, kv_heads * head_dim] f32, already normed and rotated. cache: f32.
// token_bytes: [tokens] or null; each stored row adds the KV bytes it wrote.
// Aliasing: k and v must not overlap the cache. Two spans must not name one (block, position).
// Threads: calls that write disjoint blocks or disjoint heads may run at once.
// Errors: none; block tables and spans are the schedule's and are trusted. Allocates nothing.
#ifndef MNEME_KERNELS_KV_APPEND_KV_APPEND_H_
#define MNEME_KERNELS_KV_APPEND_KV_APPEND_H_

#include <span>

#include "kernels/attention/kv_cache.h"
#include "kernels/device/isa.h"
#include "kernels/tensor/tensor.h"
#include "kernels/traffic/traffic.h"

namespace mneme::kernels {

struct KvAppendArgs {
  Matrix<const float> k;
  Matrix<const float> v;
  KvCacheView cache;
  std::span<const AttentionSpan> spans;
  double* token_bytes = nullptr;
};

// Both return kActivations read (the rows of k and v) and kKv written.
using KvAppendFn = Traffic (*)(const KvAppendArgs&);

// Element by element: the definition.
Traffic KvAppendReference(const KvAppendArgs& args);

// Copies whole rows; one implementation serves every instruction set.
KvAppendFn ResolveKvAppend(Isa isa);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_KV_APPEND_KV_APPEND_H_
