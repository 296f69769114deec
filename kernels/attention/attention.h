// Causal attention over a paged KV cache, for decode rows and prefill chunks alike:
//   y[t, j*hd ..] = sum_p softmax_p(scale * q[t, j*hd ..] . K[p]) * V[p],   hd = cache.head_dim
// over the positions p <= position(t) of t's own sequence; with window > 0 only the last `window`
// of them, t's own included. Query head j reads kv head j * kv_heads / heads. The keys and values
// of the step's own rows must already be in the cache (kv_append).
//
// q, y: [tokens, heads * head_dim] f32, rows at any stride. cache: f32, see kv_cache.h. Rows that
// no span names are neither read nor written.
// token_bytes: [tokens] or null; each row adds its share of the KV bytes that were read: a position
// that u rows of one pass read together gives each 1/u of its bytes.
// scratch: AttentionScratchBytes() bytes, 64-byte aligned, contents undefined before and after.
// Aliasing: y may be q (a row's q is read before its y is written); y must not overlap the cache.
// Batch invariance: for each (row, head) positions are processed in tiles of 64 from a multiple of
// 64, in order, by the same operations for any spans, chunks, block numbers and block sizes.
// Threads: calls with different scratch and y rows or heads may run at once.
// Errors: none; block tables and spans are the schedule's and are trusted. Allocates nothing (the
// reference a row of head_dim).
// REQUIRES: kv_heads divides heads.
#ifndef MNEME_KERNELS_ATTENTION_ATTENTION_H_
#define MNEME_KERNELS_ATTENTION_ATTENTION_H_

#include <cstdint>
#include <span>

#include "kernels/attention/kv_cache.h"
#include "kernels/device/isa.h"
#include "kernels/tensor/tensor.h"
#include "kernels/traffic/traffic.h"

namespace mneme::kernels {

struct AttentionArgs {
  Matrix<const float> q;
  KvCacheView cache;
  std::span<const AttentionSpan> spans;
  int32_t heads = 0;
  float scale = 1.0f;
  int32_t window = 0;  // 0: no window
  Matrix<float> y;
  uint8_t* scratch = nullptr;
  double* token_bytes = nullptr;
};

// Returns kKv read (keys and values, once per pass over a chunk's rows: a chunk is passed in groups
// of rows, see attention_cpu.cc) and kActivations (q read, y written).
using AttentionFn = Traffic (*)(const AttentionArgs&);

// Scratch for one call at a time; independent of the number of rows. max_positions is the longest
// context served (present so that an implementation may keep a row's scores).
int64_t AttentionScratchBytes(int32_t heads, int32_t kv_heads, int32_t head_dim,
                              int32_t max_positions);

// Plain loops, float32: the definition. Needs no scratch; reads every row's keys and values anew.
Traffic AttentionReference(const AttentionArgs& args);

AttentionFn ResolveAttention(Isa isa);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_ATTENTION_ATTENTION_H_
