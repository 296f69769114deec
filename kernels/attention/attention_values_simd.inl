// Weighted sums of values: a part of attention_simd.inl, which includes it.

// out[line][0, 16 * kVectors) += Σ weights[line][16 g + j] * values[g][j], over the groups g in
// order and within each over j in [begin, end) ascending. tail: lanes of the last vector that
// exist.
template <int kLines, int kVectors, bool kPartial>
MNEME_SIMD_INLINE void AddValues(const float* weights, const float* const* values, int groups,
                                 int32_t offset, int32_t dim, int32_t begin, int32_t end,
                                 int32_t tail, float* out, int32_t padded_dim) {
  F32x16 sum[kLines][kVectors];
#pragma GCC unroll 16
  for (int n = 0; n < kLines; ++n) {
#pragma GCC unroll 16
    for (int i = 0; i < kVectors; ++i) {
      sum[n][i] = Load(out + int64_t{n} * padded_dim + offset + 16 * i);
    }
  }
  for (int g = 0; g < groups; ++g) {
    for (int32_t j = begin; j < end; ++j) {
      const float* value = values[g] + int64_t{j} * dim + offset;
      F32x16 weight[kLines];
#pragma GCC unroll 16
      for (int n = 0; n < kLines; ++n) weight[n] = Splat(weights[n * kAttentionTile + 16 * g + j]);
#pragma GCC unroll 16
      for (int i = 0; i < kVectors; ++i) {
        const F32x16 v = kPartial && i == kVectors - 1 ? LoadPartial(value + 16 * i, tail)
                                                       : Load(value + 16 * i);
#pragma GCC unroll 16
        for (int n = 0; n < kLines; ++n) sum[n][i] = MulAdd(weight[n], v, sum[n][i]);
      }
    }
  }
#pragma GCC unroll 16
  for (int n = 0; n < kLines; ++n) {
#pragma GCC unroll 16
    for (int i = 0; i < kVectors; ++i) {
      Store(sum[n][i], out + int64_t{n} * padded_dim + offset + 16 * i);
    }
  }
}

// The same over all dimensions, in slices of as many vectors as the registers hold.
template <int kLines>
void AddValuesOfLines(const float* weights, const float* const* values, int groups, int32_t dim,
                      int32_t begin, int32_t end, float* out, int32_t padded_dim) {
  constexpr int kSlice = kSimdRegisters >= 32 ? (kLines == 4 ? 4 : 8) : 4 / kLines;
  if (begin >= end) return;
  int32_t d = 0;
  for (; d + 16 * kSlice <= dim; d += 16 * kSlice) {
    AddValues<kLines, kSlice, false>(weights, values, groups, d, dim, begin, end, 16, out,
                                     padded_dim);
  }
  if constexpr (kSlice > 4) {
    for (; d + 64 <= dim; d += 64) {
      AddValues<kLines, 4, false>(weights, values, groups, d, dim, begin, end, 16, out, padded_dim);
    }
  }
  for (; d + 16 <= dim; d += 16) {
    AddValues<kLines, 1, false>(weights, values, groups, d, dim, begin, end, 16, out, padded_dim);
  }
  if (d < dim) {
    AddValues<kLines, 1, true>(weights, values, groups, d, dim, begin, end, dim - d, out,
                               padded_dim);
  }
}

// Lines [m, m + kLines) against the group of 16 positions at `start`: first the positions before
// all lines see, line by line, then those that all see, then the rest (invariant 4).
template <int kLines>
void AddGroup(const AttentionPass& pass, const float* const* values, int32_t start, int32_t tile,
              int32_t m) {
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
  // Where no position is seen by all, each line takes all of its own alone.
  if (all_first >= all_end) all_first = all_end = 16;
  for (int n = 0; n < kLines; ++n) {
    AddValuesOfLines<1>(weights + n * kAttentionTile, values, 1, pass.dim, first[n],
                        end[n] < all_first ? end[n] : all_first, out + int64_t{n} * pad, pad);
  }
  AddValuesOfLines<kLines>(weights, values, 1, pass.dim, all_first, all_end, out, pad);
  for (int n = 0; n < kLines; ++n) {
    AddValuesOfLines<1>(weights + n * kAttentionTile, values, 1, pass.dim, all_end, end[n],
                        out + int64_t{n} * pad, pad);
  }
}

// Lines [m, m + kLines) against a tile, whose groups' values start at values[0, 4).
template <int kLines>
void AddTile(const AttentionPass& pass, const float* const* values, int32_t tile, int32_t m) {
  bool whole = true;  // Every line sees all 64 positions.
  for (int n = 0; n < kLines; ++n) {
    const AttentionLine& line = pass.scratch.lines[m + n];
    whole = whole && line.first <= tile && line.last >= tile + kAttentionTile - 1;
  }
  if (whole) {
    AddValuesOfLines<kLines>(pass.scratch.scores + m * kAttentionTile, values, kGroups, pass.dim, 0,
                             16, pass.scratch.out + int64_t{m} * pass.padded_dim, pass.padded_dim);
    return;
  }
  for (int g = 0; g < kGroups; ++g) {
    const int32_t start = tile + g * 16;
    // Lines ascend: the last one of a few sees furthest, the first one furthest back.
    if (pass.scratch.lines[m + kLines - 1].last < start) break;
    if (pass.scratch.lines[m].first > start + 15) continue;
    AddGroup<kLines>(pass, values + g, start, tile, m);
  }
}
