// Dot products of queries with keys: a part of attention_simd.inl, which includes it.

// Invariant 3, few lines: scores[0..16) of one line against the 16 keys at `keys`.
constexpr int kKeysAtOnce = kSimdRegisters >= 32 ? 16 : 4;
inline void ScoreByDots(const float* q, const float* keys, int32_t dim, float* scores) {
  for (int32_t j = 0; j < 16; j += kKeysAtOnce) {
    F32x16 sum[kKeysAtOnce];
#pragma GCC unroll 16
    for (int n = 0; n < kKeysAtOnce; ++n) sum[n] = Zero();
    const float* key = keys + int64_t{j} * dim;
    int32_t d = 0;
    for (; d + 16 <= dim; d += 16) {
      const F32x16 x = Load(q + d);
#pragma GCC unroll 16
      for (int n = 0; n < kKeysAtOnce; ++n) {
        sum[n] = MulAdd(x, Load(key + int64_t{n} * dim + d), sum[n]);
      }
    }
    if (d < dim) {
      const F32x16 x = Load(q + d);
#pragma GCC unroll 16
      for (int n = 0; n < kKeysAtOnce; ++n) {
        sum[n] = MulAdd(x, LoadPartial(key + int64_t{n} * dim + d, dim - d), sum[n]);
      }
    }
    ReduceAddEach<kKeysAtOnce>(sum, scores + j);
  }
}

#if MNEME_SIMD_X86
// Four dimensions of the sixteen keys: `from` and the key rows after it -> four rows of sixteen.
template <class V = F32x16>
MNEME_SIMD_INLINE void TransposeFour(const float* from, int64_t dim, float* to) {
  if constexpr (requires(V v) { v.v; }) {
    // Part q of vector a is key a + 4 q, so transposing inside the parts leaves keys in order.
    __m512 key[4];
#pragma GCC unroll 4
    for (int a = 0; a < 4; ++a) {
      const float* p = from + a * dim;
      const __m256 low = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)),
                                              _mm_loadu_ps(p + 4 * dim), 1);
      key[a] = _mm512_insertf32x4(_mm512_castps256_ps512(low), _mm_loadu_ps(p + 8 * dim), 2);
      key[a] = _mm512_insertf32x4(key[a], _mm_loadu_ps(p + 12 * dim), 3);
    }
    const __m512d low01 = _mm512_castps_pd(_mm512_unpacklo_ps(key[0], key[1]));
    const __m512d high01 = _mm512_castps_pd(_mm512_unpackhi_ps(key[0], key[1]));
    const __m512d low23 = _mm512_castps_pd(_mm512_unpacklo_ps(key[2], key[3]));
    const __m512d high23 = _mm512_castps_pd(_mm512_unpackhi_ps(key[2], key[3]));
    _mm512_storeu_ps(to, _mm512_castpd_ps(_mm512_unpacklo_pd(low01, low23)));
    _mm512_storeu_ps(to + 16, _mm512_castpd_ps(_mm512_unpackhi_pd(low01, low23)));
    _mm512_storeu_ps(to + 32, _mm512_castpd_ps(_mm512_unpacklo_pd(high01, high23)));
    _mm512_storeu_ps(to + 48, _mm512_castpd_ps(_mm512_unpackhi_pd(high01, high23)));
  } else {
    for (int j = 0; j < 16; j += 4) {
      __m128 a = _mm_loadu_ps(from + j * dim);
      __m128 b = _mm_loadu_ps(from + (j + 1) * dim);
      __m128 c = _mm_loadu_ps(from + (j + 2) * dim);
      __m128 d = _mm_loadu_ps(from + (j + 3) * dim);
      _MM_TRANSPOSE4_PS(a, b, c, d);
      _mm_storeu_ps(to + j, a);
      _mm_storeu_ps(to + j + 16, b);
      _mm_storeu_ps(to + j + 32, c);
      _mm_storeu_ps(to + j + 48, d);
    }
  }
}
#endif

// transposed[d * 16 + j] = keys[j * dim + d]; rows [dim, padded_dim) are zero.
inline void TransposeKeys(const float* keys, int32_t dim, int32_t padded_dim, float* transposed) {
  int32_t d = 0;
#if MNEME_SIMD_X86
  for (; d + 4 <= dim; d += 4) TransposeFour(keys + d, dim, transposed + d * 16);
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

// Node of ReduceAdd's tree over lanes lane, lane + step, ...: positions in the lanes. kDim is the
// padded dimension where it is known when compiling (the loops then unroll), else 0.
template <int kLines, int kDim, int lane, int step>
MNEME_SIMD_INLINE LineSums<kLines> LaneTree(const float* q, int32_t padded_dim,
                                            const float* transposed) {
  if constexpr (step == 16) {
    const int32_t dim = kDim > 0 ? kDim : padded_dim;
    LineSums<kLines> sum;
#pragma GCC unroll 16
    for (int n = 0; n < kLines; ++n) sum.v[n] = Zero();
#pragma GCC unroll 8
    for (int32_t d = lane; d < dim; d += 16) {
      const F32x16 key = Load(transposed + d * 16);
#pragma GCC unroll 16
      for (int n = 0; n < kLines; ++n) {
        sum.v[n] = MulAdd(Splat(q[int64_t{n} * dim + d]), key, sum.v[n]);
      }
    }
    return sum;
  } else {
    LineSums<kLines> a = LaneTree<kLines, kDim, lane, 2 * step>(q, padded_dim, transposed);
    const LineSums<kLines> b =
        LaneTree<kLines, kDim, lane + step, 2 * step>(q, padded_dim, transposed);
#pragma GCC unroll 16
    for (int n = 0; n < kLines; ++n) a.v[n] = Add(a.v[n], b.v[n]);
    return a;
  }
}

template <int kLines, int kDim>
void ScoreTransposed(const float* q, int32_t padded_dim, const float* transposed, float* scores) {
  const LineSums<kLines> sum = LaneTree<kLines, kDim, 0, 1>(q, padded_dim, transposed);
#pragma GCC unroll 16
  for (int n = 0; n < kLines; ++n) Store(sum.v[n], scores + n * kAttentionTile);
}

template <int kDim>
void ScoreLinesTransposed(const AttentionPass& pass, int32_t m, int32_t end, float* scores) {
  constexpr int kAtOnce = kSimdRegisters >= 32 ? 4 : 1;
  const int32_t pad = pass.padded_dim;
  const float* q = pass.scratch.q;
  for (; m + kAtOnce <= end; m += kAtOnce) {
    ScoreTransposed<kAtOnce, kDim>(q + int64_t{m} * pad, pad, pass.scratch.keys,
                                   scores + m * kAttentionTile);
  }
  for (; m < end; ++m) {
    ScoreTransposed<1, kDim>(q + int64_t{m} * pad, pad, pass.scratch.keys,
                             scores + m * kAttentionTile);
  }
}

// Raw dot products of the lines that see any of the positions [position, position + 16) with them.
inline void ScoreGroup(const AttentionPass& pass, int32_t position, int group) {
  const float* keys = GroupRows(pass, pass.args->cache.keys, position);
  const AttentionLine* lines = pass.scratch.lines;
  // Lines are in ascending order of first and of last position.
  int32_t begin = 0;
  int32_t end = pass.lines;
  while (lines[begin].last < position) ++begin;
  while (lines[end - 1].first > position + 15) --end;
  float* scores = pass.scratch.scores + group * 16;
  if (end - begin < kTransposeLines) {
    for (int32_t m = begin; m < end; ++m) {
      ScoreByDots(pass.scratch.q + int64_t{m} * pass.padded_dim, keys, pass.dim,
                  scores + m * kAttentionTile);
    }
    return;
  }
  TransposeKeys(keys, pass.dim, pass.padded_dim, pass.scratch.keys);
  if (pass.padded_dim == 128) {
    ScoreLinesTransposed<128>(pass, begin, end, scores);
  } else if (pass.padded_dim == 64) {
    ScoreLinesTransposed<64>(pass, begin, end, scores);
  } else {
    ScoreLinesTransposed<0>(pass, begin, end, scores);
  }
}
