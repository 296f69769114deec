#include <algorithm>

#include "kernels/attention/attention.h"
#include "kernels/simd/simd.h"

namespace mneme::kernels {
namespace {

// Positions per softmax step. 64 makes the horizontal maximum and the rescaling a few percent of a
// step's arithmetic, and 64 keys and values of 128 dimensions still fit L1 and L2.
constexpr int32_t kAttentionTile = 64;

// Lines (row, query head) of one pass over a kv head's positions: enough that reading keys and
// values costs less than computing with them, few enough that queries, outputs and scores
// (128 * (2 * 128 + 64) floats = 160 KiB) stay in L2. 64 was 9 to 20 % slower at
// prefill (three alternating runs).
constexpr int32_t kLinesPerPass = 128;

// From so many lines on, keys are transposed instead of summing horizontally per line and key. With
// 4 to 8 query heads per kv head, 4 to 12 measured alike.
constexpr int32_t kTransposeLines = 8;

constexpr int32_t PaddedDim(int32_t head_dim) { return (head_dim + 15) / 16 * 16; }

int32_t AttentionRowsAtOnce(int32_t heads_per_kv_head) {
  return std::max(1, kLinesPerPass / heads_per_kv_head);
}

int32_t MaxLines(int32_t heads_per_kv_head) {
  return AttentionRowsAtOnce(heads_per_kv_head) * heads_per_kv_head;
}

// What a line of a pass sees and its running maximum.
struct AttentionLine {
  int32_t first;
  int32_t last;
  float max;
};

struct AttentionScratch {
  float* q;       // [lines, padded_dim]
  float* out;     // [lines, padded_dim]
  float* scores;  // [lines, kAttentionTile]
  float* sums;    // [lines, 16]
  float* keys;    // [padded_dim, 16], one group transposed
  AttentionLine* lines;
};

AttentionScratch CarveAttentionScratch(const AttentionArgs& args) {
  const int64_t lines = MaxLines(args.heads / args.cache.kv_heads);
  const int64_t padded = PaddedDim(args.cache.head_dim);
  AttentionScratch scratch;
  scratch.q = reinterpret_cast<float*>(args.scratch);
  scratch.out = scratch.q + lines * padded;
  scratch.scores = scratch.out + lines * padded;
  scratch.sums = scratch.scores + lines * kAttentionTile;
  scratch.keys = scratch.sums + lines * 16;
  scratch.lines = reinterpret_cast<AttentionLine*>(scratch.keys + padded * 16);
  return scratch;
}

// The integral over positions of 1 / (rows of the pass that see the position), walked up to a given
// position; rows' ranges start and end in ascending order, so two walks serve a whole pass.
class SharedReads {
 public:
  SharedReads(int32_t first_last, int32_t rows, int32_t window)
      : first_last_(first_last), rows_(rows), window_(window), position_(First(0)) {}

  // First position that row i sees, and the position after its last.
  int32_t First(int32_t i) const {
    return window_ > 0 ? std::max(0, first_last_ + i - window_ + 1) : 0;
  }
  int32_t End(int32_t i) const { return first_last_ + i + 1; }

  // REQUIRES: positions come in ascending order.
  double IntegralTo(int32_t position) {
    while (position_ < position) {
      while (started_ < rows_ && First(started_) <= position_) ++started_;
      while (ended_ < rows_ && End(ended_) <= position_) ++ended_;
      int32_t next = position;
      if (started_ < rows_) next = std::min(next, First(started_));
      if (ended_ < rows_) next = std::min(next, End(ended_));
      if (started_ > ended_) {
        sum_ += static_cast<double>(next - position_) / (started_ - ended_);
      }
      position_ = next;
    }
    return sum_;
  }

 private:
  int32_t first_last_;
  int32_t rows_;
  int32_t window_;
  int32_t position_;
  int32_t started_ = 0;
  int32_t ended_ = 0;
  double sum_ = 0;
};

// Adds what rows [row, row + rows) of the span read: the union of their positions, once.
void CountAttentionPass(const AttentionArgs& args, const AttentionSpan& span, int32_t row,
                        int32_t rows, Traffic& traffic) {
  const int64_t dim_bytes = args.cache.head_dim * int64_t{sizeof(float)};
  const int64_t position_bytes = 2 * args.cache.kv_heads * dim_bytes;
  const int32_t first_last = span.first_position + row;
  SharedReads starts(first_last, rows, args.window);
  SharedReads ends(first_last, rows, args.window);
  traffic.Read(TrafficClass::kKv, (ends.End(rows - 1) - ends.First(0)) * position_bytes);
  traffic.Read(TrafficClass::kActivations, rows * args.heads * dim_bytes);
  traffic.Write(TrafficClass::kActivations, rows * args.heads * dim_bytes);
  if (args.token_bytes == nullptr) return;
  for (int32_t i = 0; i < rows; ++i) {
    const double share = ends.IntegralTo(ends.End(i)) - starts.IntegralTo(starts.First(i));
    args.token_bytes[span.first_row + row + i] += share * static_cast<double>(position_bytes);
  }
}

}  // namespace
}  // namespace mneme::kernels

#define MNEME_SIMD_BODY "kernels/attention/attention_simd.inl"
#include "kernels/simd/for_each_isa.inl"

namespace mneme::kernels {

int64_t AttentionScratchBytes(int32_t heads, int32_t kv_heads, int32_t head_dim,
                              int32_t /*max_positions*/) {
  const int64_t lines = MaxLines(heads / kv_heads);
  const int64_t padded = PaddedDim(head_dim);
  const int64_t floats = lines * (2 * padded + kAttentionTile + 16) + padded * 16;
  return floats * int64_t{sizeof(float)} + lines * int64_t{sizeof(AttentionLine)};
}

AttentionFn ResolveAttention(Isa isa) { return MNEME_SIMD_SELECT(isa, Attention); }

}  // namespace mneme::kernels
