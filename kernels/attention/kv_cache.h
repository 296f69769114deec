// One layer's paged KV cache on one rank, and the rows of a step that belong to one sequence. Views
// only: the cache is a tensor of the plan, the block tables belong to the schedule.
#ifndef MNEME_KERNELS_ATTENTION_KV_CACHE_H_
#define MNEME_KERNELS_ATTENTION_KV_CACHE_H_

#include <cstdint>

namespace mneme::kernels {

// Block b's keys of kv head h: keys + b * block_stride + h * head_stride, a row-major f32 matrix
// [block_size, head_dim]; values likewise. Strides are in floats and not negative.
// REQUIRES: block_size % 16 == 0, so that 16 consecutive positions from a multiple of 16 lie in one
// block. Blocks should be 64-byte aligned (any alignment works, slower).
struct KvCacheView {
  float* keys = nullptr;
  float* values = nullptr;
  int64_t block_stride = 0;
  int64_t head_stride = 0;
  int32_t block_size = 0;
  int32_t kv_heads = 0;
  int32_t head_dim = 0;

  // The first key of block `block` for kv head `head`, and the first value.
  float* Keys(int32_t block, int32_t head) const {
    return keys + block * block_stride + head * head_stride;
  }
  float* Values(int32_t block, int32_t head) const {
    return values + block * block_stride + head * head_stride;
  }
};

// Rows [first_row, first_row + rows) of the step belong to one sequence, at positions
// first_position, first_position + 1, ...; block_table[p / block_size] is the block that holds
// position p. Spans of a step name disjoint rows.
struct AttentionSpan {
  int32_t first_row = 0;
  int32_t rows = 0;
  int32_t first_position = 0;
  const int32_t* block_table = nullptr;
};

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_ATTENTION_KV_CACHE_H_
