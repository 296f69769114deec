// Body of attention_cpu.cc, once per instruction set. Invariants:
//  1. One pass serves up to 128 "lines", a line being one (row, query head) of one kv head, ordered
//     row by row. Everything a line computes depends on that line alone, so how rows are grouped
//     into passes changes no bits.
//  2. A line sees positions [first, last]. It processes tiles of 64 positions from a multiple of
//     64, each as four groups of 16; a group lies in one block (block_size % 16 == 0).
//  3. A score is sixteen partial sums (lane l: dimensions l, l + 16, ...) added by ReduceAdd's
//     tree. Few lines: dot products and ReduceAddEach. Many lines: keys are transposed once and the
//     same tree is walked with positions in the lanes. Same operations, same bits.
//  4. Values are added in ascending position, one fused step each. A position that a line does not
//     see is skipped, never multiplied by zero: its memory may hold anything.

constexpr int kGroups = kAttentionTile / 16;
constexpr float kMinusInfinity = -__builtin_inff();

// One pass: some rows of one span for one kv head.
struct AttentionPass {
  const AttentionArgs* args;
  const AttentionSpan* span;
  int32_t kv_head;
  int32_t lines;
  int32_t dim;
  int32_t padded_dim;  // dim rounded up to 16
  int32_t first;       // least position any line sees
  int32_t last;        // greatest
  AttentionScratch scratch;
};

MNEME_SIMD_INLINE const float* GroupRows(const AttentionPass& pass, const float* base,
                                         int32_t position) {
  const KvCacheView& cache = pass.args->cache;
  const int32_t block = pass.span->block_table[position / cache.block_size];
  return base + block * cache.block_stride + pass.kv_head * cache.head_stride +
         int64_t{position % cache.block_size} * cache.head_dim;
}

#include "kernels/attention/attention_scores_simd.inl"
#include "kernels/attention/attention_values_simd.inl"

// e^x for x <= 0, 0 below -87: weights smaller than any normal float32 change nothing beside the
// maximum's 1, and their arithmetic is slow: a prefill of 64 tokens, 4 heads of
// 64, took 58 us with Exp on masked lanes and 37 us without.
MNEME_SIMD_INLINE F32x16 Weight(F32x16 x) {
  const F32x16 least = Splat(-87.0f);
  return Choose(Less(x, least), Zero(), Exp(Max(least, x)));
}

// Turns a line's scores of one tile into weights exp(score - max), with the line's running maximum,
// sum and output rescaled where the maximum grew.
inline void SoftmaxTile(const AttentionPass& pass, int32_t tile, int32_t m) {
  AttentionLine& line = pass.scratch.lines[m];
  float* scores = pass.scratch.scores + m * kAttentionTile;
  float* lane_sums = pass.scratch.sums + m * 16;
  const F32x16 scale = Splat(pass.args->scale);
  const F32x16 masked = Splat(kMinusInfinity);
  const auto unseen = [&](int g) {
    return line.last < tile + g * 16 || line.first > tile + g * 16 + 15;
  };
  F32x16 s[kGroups];
#pragma GCC unroll 16
  for (int g = 0; g < kGroups; ++g) {
    const int32_t start = tile + g * 16;
    if (unseen(g)) {
      s[g] = masked;
      continue;
    }
    s[g] = Mul(Load(scores + g * 16), scale);
    if (line.last < start + 15) s[g] = Choose(FirstLanes(line.last - start + 1), s[g], masked);
    if (line.first > start) s[g] = Choose(FirstLanes(line.first - start), masked, s[g]);
  }
  const float max = ReduceMax(Max(Max(s[0], s[1]), Max(s[2], s[3])));
  if (max > line.max) {
    if (line.max > kMinusInfinity) {
      const F32x16 shrink = Weight(Splat(line.max - max));
      Store(Mul(Load(lane_sums), shrink), lane_sums);
      float* out = pass.scratch.out + int64_t{m} * pass.padded_dim;
      for (int32_t d = 0; d < pass.padded_dim; d += 16) Store(Mul(Load(out + d), shrink), out + d);
    }
    line.max = max;
  }
  const F32x16 top = Splat(line.max);
#pragma GCC unroll 16
  for (int g = 0; g < kGroups; ++g) {
    s[g] = unseen(g) ? Zero() : Weight(Sub(s[g], top));
    Store(s[g], scores + g * 16);
  }
  Store(Add(Load(lane_sums), Add(Add(s[0], s[1]), Add(s[2], s[3]))), lane_sums);
}

inline void AttendTile(const AttentionPass& pass, int32_t tile) {
  const float* values[kGroups] = {};
  for (int g = 0; g < kGroups; ++g) {
    const int32_t start = tile + g * 16;
    if (start > pass.last || start + 15 < pass.first) continue;
    values[g] = GroupRows(pass, pass.args->cache.values, start);
    ScoreGroup(pass, start, g);
  }
  for (int32_t m = 0; m < pass.lines; ++m) {
    const AttentionLine& line = pass.scratch.lines[m];
    if (line.last < tile || line.first >= tile + kAttentionTile) continue;
    SoftmaxTile(pass, tile, m);
  }
  int32_t m = 0;
  for (; m + 4 <= pass.lines; m += 4) AddTile<4>(pass, values, tile, m);
  for (; m + 2 <= pass.lines; m += 2) AddTile<2>(pass, values, tile, m);
  for (; m < pass.lines; ++m) AddTile<1>(pass, values, tile, m);
}

// Rows [row, row + rows) of the span, all query heads of one kv head.
inline void AttendPass(AttentionPass& pass, int32_t row, int32_t rows) {
  const AttentionArgs& args = *pass.args;
  const int32_t per_kv_head = args.heads / args.cache.kv_heads;
  const int32_t dim = pass.dim;
  const int32_t pad = pass.padded_dim;
  const int64_t column = int64_t{pass.kv_head} * per_kv_head * dim;
  pass.lines = rows * per_kv_head;
  for (int32_t m = 0; m < pass.lines; ++m) {
    const int32_t i = row + m / per_kv_head;
    const int32_t last = pass.span->first_position + i;
    const int32_t first = args.window > 0 && last >= args.window ? last - args.window + 1 : 0;
    pass.scratch.lines[m] = AttentionLine{first, last, kMinusInfinity};
    const float* q = args.q.row(pass.span->first_row + i) + column + int64_t{m % per_kv_head} * dim;
    float* padded = pass.scratch.q + int64_t{m} * pad;
    for (int32_t d = 0; d < pad; d += 16) {
      const int32_t lanes = dim - d < 16 ? dim - d : 16;
      Store(LoadPartial(q + d, lanes), padded + d);
      Store(Zero(), pass.scratch.out + int64_t{m} * pad + d);
    }
    Store(Zero(), pass.scratch.sums + m * 16);
  }
  pass.first = pass.scratch.lines[0].first;
  pass.last = pass.scratch.lines[pass.lines - 1].last;
  for (int32_t tile = pass.first / kAttentionTile * kAttentionTile; tile <= pass.last;
       tile += kAttentionTile) {
    AttendTile(pass, tile);
  }
  for (int32_t m = 0; m < pass.lines; ++m) {
    const F32x16 sum = Splat(ReduceAdd(Load(pass.scratch.sums + m * 16)));
    const float* out = pass.scratch.out + int64_t{m} * pad;
    float* y = args.y.row(pass.span->first_row + row + m / per_kv_head) + column +
               int64_t{m % per_kv_head} * dim;
    for (int32_t d = 0; d < dim; d += 16) {
      const int32_t lanes = dim - d < 16 ? dim - d : 16;
      StorePartial(Div(Load(out + d), sum), y + d, lanes);
    }
  }
}

inline Traffic Attention(const AttentionArgs& args) {
  Traffic traffic;
  AttentionPass pass;
  pass.args = &args;
  pass.dim = args.cache.head_dim;
  pass.padded_dim = (pass.dim + 15) / 16 * 16;
  pass.scratch = CarveAttentionScratch(args);
  const int32_t rows_at_once = AttentionRowsAtOnce(args.heads / args.cache.kv_heads);
  // Before the vectors: see kernels/simd/simd.h.
  for (const AttentionSpan& span : args.spans) {
    for (int32_t row = 0; row < span.rows; row += rows_at_once) {
      CountAttentionPass(args, span, row, std::min(span.rows - row, rows_at_once), traffic);
    }
  }
  for (const AttentionSpan& span : args.spans) {
    pass.span = &span;
    for (int32_t row = 0; row < span.rows; row += rows_at_once) {
      const int32_t rows = std::min(span.rows - row, rows_at_once);
      for (int32_t h = 0; h < args.cache.kv_heads; ++h) {
        pass.kv_head = h;
        AttendPass(pass, row, rows);
      }
    }
  }
  return traffic;
}
