// Body of attention_cpu.cc, once per instruction set. Invariants:
//  1. One pass serves up to 64 "lines", a line being one (row, query head) of one kv head, ordered
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

// Invariant 3, few lines: scores[0..16) of one line against the 16 keys at `keys`.
constexpr int kKeysAtOnce = kSimdRegisters >= 32 ? 16 : 4;
inline void ScoreByDots(const float* q, const float* keys, int32_t dim, float* scores) {
  for (int32_t j = 0; j < 16; j += kKeysAtOnce) {
    F32x16 sum[kKeysAtOnce];
    for (int n = 0; n < kKeysAtOnce; ++n) sum[n] = Zero();
    const float* key = keys + int64_t{j} * dim;
    int32_t d = 0;
    for (; d + 16 <= dim; d += 16) {
      const F32x16 x = Load(q + d);
      for (int n = 0; n < kKeysAtOnce; ++n) {
        sum[n] = MulAdd(x, Load(key + int64_t{n} * dim + d), sum[n]);
      }
    }
    if (d < dim) {
      const F32x16 x = Load(q + d);
      for (int n = 0; n < kKeysAtOnce; ++n) {
        sum[n] = MulAdd(x, LoadPartial(key + int64_t{n} * dim + d, dim - d), sum[n]);
      }
    }
    ReduceAddEach<kKeysAtOnce>(sum, scores + j);
  }
}

// transposed[d * 16 + j] = keys[j * dim + d]; rows [dim, padded_dim) are zero.
inline void TransposeKeys(const float* keys, int32_t dim, int32_t padded_dim, float* transposed) {
  int32_t d = 0;
#if MNEME_SIMD_X86
  for (; d + 4 <= dim; d += 4) {
    for (int j = 0; j < 16; j += 4) {
      const float* from = keys + int64_t{j} * dim + d;
      __m128 a = _mm_loadu_ps(from);
      __m128 b = _mm_loadu_ps(from + dim);
      __m128 c = _mm_loadu_ps(from + 2 * dim);
      __m128 e = _mm_loadu_ps(from + 3 * dim);
      _MM_TRANSPOSE4_PS(a, b, c, e);
      float* to = transposed + d * 16 + j;
      _mm_storeu_ps(to, a);
      _mm_storeu_ps(to + 16, b);
      _mm_storeu_ps(to + 32, c);
      _mm_storeu_ps(to + 48, e);
    }
  }
#endif
  for (; d < dim; ++d) {
    for (int j = 0; j < 16; ++j) transposed[d * 16 + j] = keys[int64_t{j} * dim + d];
  }
  for (; d < padded_dim; ++d) {
    for (int j = 0; j < 16; ++j) transposed[d * 16 + j] = 0;
  }
}

template <int kLines>
struct LineSums {
  F32x16 v[kLines];
};

// Node of ReduceAdd's tree over lanes lane, lane + step, ...: positions in the lanes.
template <int kLines, int lane, int step>
MNEME_SIMD_INLINE LineSums<kLines> LaneTree(const float* q, int32_t padded_dim,
                                            const float* transposed) {
  if constexpr (step == 16) {
    LineSums<kLines> sum;
    for (int n = 0; n < kLines; ++n) sum.v[n] = Zero();
    for (int32_t d = lane; d < padded_dim; d += 16) {
      const F32x16 key = Load(transposed + d * 16);
      for (int n = 0; n < kLines; ++n) {
        sum.v[n] = MulAdd(Splat(q[int64_t{n} * padded_dim + d]), key, sum.v[n]);
      }
    }
    return sum;
  } else {
    LineSums<kLines> a = LaneTree<kLines, lane, 2 * step>(q, padded_dim, transposed);
    const LineSums<kLines> b = LaneTree<kLines, lane + step, 2 * step>(q, padded_dim, transposed);
    for (int n = 0; n < kLines; ++n) a.v[n] = Add(a.v[n], b.v[n]);
    return a;
  }
}

template <int kLines>
void ScoreTransposed(const float* q, int32_t padded_dim, const float* transposed, float* scores) {
  const LineSums<kLines> sum = LaneTree<kLines, 0, 1>(q, padded_dim, transposed);
  for (int n = 0; n < kLines; ++n) Store(sum.v[n], scores + n * kAttentionTile);
}

// Raw dot products of every line with the positions [position, position + 16).
inline void ScoreGroup(const AttentionPass& pass, int32_t position, int group) {
  const float* keys = GroupRows(pass, pass.args->cache.keys, position);
  float* scores = pass.scratch.scores + group * 16;
  if (pass.lines < kTransposeLines) {
    for (int32_t m = 0; m < pass.lines; ++m) {
      ScoreByDots(pass.scratch.q + int64_t{m} * pass.padded_dim, keys, pass.dim,
                  scores + m * kAttentionTile);
    }
    return;
  }
  TransposeKeys(keys, pass.dim, pass.padded_dim, pass.scratch.keys);
  constexpr int kAtOnce = kSimdRegisters >= 32 ? 4 : 1;
  int32_t m = 0;
  for (; m + kAtOnce <= pass.lines; m += kAtOnce) {
    ScoreTransposed<kAtOnce>(pass.scratch.q + int64_t{m} * pass.padded_dim, pass.padded_dim,
                             pass.scratch.keys, scores + m * kAttentionTile);
  }
  for (; m < pass.lines; ++m) {
    ScoreTransposed<1>(pass.scratch.q + int64_t{m} * pass.padded_dim, pass.padded_dim,
                       pass.scratch.keys, scores + m * kAttentionTile);
  }
}

// Turns a line's scores of one tile into weights exp(score - max), with the line's running maximum,
// sum and output rescaled where the maximum grew.
inline void SoftmaxTile(const AttentionPass& pass, int32_t tile, int32_t m) {
  AttentionLine& line = pass.scratch.lines[m];
  float* scores = pass.scratch.scores + m * kAttentionTile;
  float* lane_sums = pass.scratch.sums + m * 16;
  const F32x16 scale = Splat(pass.args->scale);
  const F32x16 masked = Splat(kMinusInfinity);
  F32x16 s[kGroups];
  for (int g = 0; g < kGroups; ++g) {
    const int32_t start = tile + g * 16;
    if (line.last < start || line.first > start + 15) {
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
      const F32x16 shrink = Exp(Splat(line.max - max));
      Store(Mul(Load(lane_sums), shrink), lane_sums);
      float* out = pass.scratch.out + int64_t{m} * pass.padded_dim;
      for (int32_t d = 0; d < pass.padded_dim; d += 16) Store(Mul(Load(out + d), shrink), out + d);
    }
    line.max = max;
  }
  const F32x16 top = Splat(line.max);
  for (int g = 0; g < kGroups; ++g) {
    s[g] = Exp(Sub(s[g], top));
    Store(s[g], scores + g * 16);
  }
  Store(Add(Load(lane_sums), Add(Add(s[0], s[1]), Add(s[2], s[3]))), lane_sums);
}

// out[line][0, 16 * kVectors) += sum_j weights[line][j] * values[j], j in [begin, end) ascending.
// tail: lanes of the last vector that exist.
template <int kLines, int kVectors, bool kPartial>
MNEME_SIMD_INLINE void AddValues(const float* weights, const float* values, int32_t dim,
                                 int32_t begin, int32_t end, int32_t tail, float* out,
                                 int32_t padded_dim) {
  F32x16 sum[kLines][kVectors];
  for (int n = 0; n < kLines; ++n) {
    for (int i = 0; i < kVectors; ++i) sum[n][i] = Load(out + int64_t{n} * padded_dim + 16 * i);
  }
  for (int32_t j = begin; j < end; ++j) {
    const float* value = values + int64_t{j} * dim;
    F32x16 weight[kLines];
    for (int n = 0; n < kLines; ++n) weight[n] = Splat(weights[n * kAttentionTile + j]);
    for (int i = 0; i < kVectors; ++i) {
      const F32x16 v =
          kPartial && i == kVectors - 1 ? LoadPartial(value + 16 * i, tail) : Load(value + 16 * i);
      for (int n = 0; n < kLines; ++n) sum[n][i] = MulAdd(weight[n], v, sum[n][i]);
    }
  }
  for (int n = 0; n < kLines; ++n) {
    for (int i = 0; i < kVectors; ++i) Store(sum[n][i], out + int64_t{n} * padded_dim + 16 * i);
  }
}

// The same over all dimensions, in slices of as many vectors as the registers hold.
template <int kLines>
void AddValuesOfLines(const float* weights, const float* values, int32_t dim, int32_t begin,
                      int32_t end, float* out, int32_t padded_dim) {
  constexpr int kSlice = kSimdRegisters >= 32 ? (kLines == 4 ? 4 : 8) : 4 / kLines;
  if (begin >= end) return;
  int32_t d = 0;
  for (; d + 16 * kSlice <= dim; d += 16 * kSlice) {
    AddValues<kLines, kSlice, false>(weights, values + d, dim, begin, end, 16, out + d, padded_dim);
  }
  if constexpr (kSlice > 4) {
    for (; d + 64 <= dim; d += 64) {
      AddValues<kLines, 4, false>(weights, values + d, dim, begin, end, 16, out + d, padded_dim);
    }
  }
  for (; d + 16 <= dim; d += 16) {
    AddValues<kLines, 1, false>(weights, values + d, dim, begin, end, 16, out + d, padded_dim);
  }
  if (d < dim) {
    AddValues<kLines, 1, true>(weights, values + d, dim, begin, end, dim - d, out + d, padded_dim);
  }
}

// Lines [m, m + kLines) against the group of 16 positions at `start`: first the positions before
// all lines see, line by line, then those that all see, then the rest (invariant 4).
template <int kLines>
void AddGroup(const AttentionPass& pass, int32_t start, int32_t tile, int32_t m) {
  const float* values = GroupRows(pass, pass.args->cache.values, start);
  const int32_t pad = pass.padded_dim;
  const float* weights = pass.scratch.scores + m * kAttentionTile + (start - tile);
  float* out = pass.scratch.out + int64_t{m} * pad;
  int32_t first[kLines];
  int32_t end[kLines];
  int32_t all_first = 0;
  int32_t all_end = 16;
  for (int n = 0; n < kLines; ++n) {
    const AttentionLine& line = pass.scratch.lines[m + n];
    first[n] = line.first > start ? line.first - start : 0;
    end[n] = line.last < start + 15 ? line.last - start + 1 : 16;
    if (first[n] > all_first) all_first = first[n];
    if (end[n] < all_end) all_end = end[n];
  }
  if (all_first >= all_end) {
    for (int n = 0; n < kLines; ++n) {
      AddValuesOfLines<1>(weights + n * kAttentionTile, values, pass.dim, first[n], end[n],
                          out + int64_t{n} * pad, pad);
    }
    return;
  }
  for (int n = 0; n < kLines; ++n) {
    AddValuesOfLines<1>(weights + n * kAttentionTile, values, pass.dim, first[n], all_first,
                        out + int64_t{n} * pad, pad);
  }
  AddValuesOfLines<kLines>(weights, values, pass.dim, all_first, all_end, out, pad);
  for (int n = 0; n < kLines; ++n) {
    AddValuesOfLines<1>(weights + n * kAttentionTile, values, pass.dim, all_end, end[n],
                        out + int64_t{n} * pad, pad);
  }
}

inline void AttendTile(const AttentionPass& pass, int32_t tile) {
  for (int g = 0; g < kGroups; ++g) {
    const int32_t start = tile + g * 16;
    if (start <= pass.last && start + 15 >= pass.first) ScoreGroup(pass, start, g);
  }
  for (int32_t m = 0; m < pass.lines; ++m) {
    const AttentionLine& line = pass.scratch.lines[m];
    if (line.last < tile || line.first >= tile + kAttentionTile) continue;
    SoftmaxTile(pass, tile, m);
  }
  for (int g = 0; g < kGroups; ++g) {
    const int32_t start = tile + g * 16;
    if (start > pass.last || start + 15 < pass.first) continue;
    int32_t m = 0;
    for (; m + 4 <= pass.lines; m += 4) AddGroup<4>(pass, start, tile, m);
    for (; m + 2 <= pass.lines; m += 2) AddGroup<2>(pass, start, tile, m);
    for (; m < pass.lines; ++m) AddGroup<1>(pass, start, tile, m);
  }
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
  for (const AttentionSpan& span : args.spans) {
    pass.span = &span;
    for (int32_t row = 0; row < span.rows; row += rows_at_once) {
      const int32_t rows = span.rows - row < rows_at_once ? span.rows - row : rows_at_once;
      for (int32_t h = 0; h < args.cache.kv_heads; ++h) {
        pass.kv_head = h;
        AttendPass(pass, row, rows);
      }
      CountAttentionPass(args, span, row, rows, traffic);
    }
  }
  return traffic;
}
