// Body of product_key_select_cpu.cc, once per instruction set. Every score is computed with
// separate multiplications and additions in the reference's order, so that all instruction sets
// select the same candidates with the same bits.

struct Entry {
  float sum;
  int32_t candidate;  // i * top_k + j
};

// Puts a candidate after all entries that score at least as much; of a full list the last falls
// off.
MNEME_SIMD_INLINE void InsertEntry(Entry* kept, int32_t filled, int32_t top_k, Entry entry) {
  int32_t place = filled < top_k ? filled : top_k - 1;
  while (place > 0 && kept[place - 1].sum < entry.sum) {
    kept[place] = kept[place - 1];
    --place;
  }
  kept[place] = entry;
}

// columns[ρ * padded + j] = score[j * rank + ρ]; the padding is zero.
inline void SplitRanks(const float* score, int32_t count, int32_t rank, int32_t padded,
                       float* columns) {
  for (int32_t rho = 0; rho < rank; ++rho) {
    for (int32_t j = 0; j < count; ++j) columns[rho * padded + j] = score[j * rank + rho];
    for (int32_t j = count; j < padded; ++j) columns[rho * padded + j] = 0;
  }
}

// rows[(c * rank + ρ) * padded + i] = Σ_σ S1_i[σ] core[c,h,σ,ρ].
inline void RowsTimesCores(const ProductKeySelectArgs& args, int32_t head, const float* split,
                           int32_t padded, float* rows) {
  const int32_t rank = args.rank;
  for (int32_t c = 0; c < args.cores; ++c) {
    const float* core = args.core + (int64_t{c} * args.heads + head) * rank * rank;
    for (int32_t rho = 0; rho < rank; ++rho) {
      for (int32_t i = 0; i < padded; i += 16) {
        F32x16 sum = Mul(Load(split + i), Splat(core[rho]));
        for (int32_t sigma = 1; sigma < rank; ++sigma) {
          sum = Add(sum, Mul(Load(split + sigma * padded + i), Splat(core[sigma * rank + rho])));
        }
        Store(sum, rows + (c * rank + rho) * padded + i);
      }
    }
  }
}

// Scores of row candidate i with the sixteen column candidates from j: one vector per core.
template <int kRank, int kCores>
MNEME_SIMD_INLINE F32x16 SumOfCores(const float* rows, const float* columns, int32_t padded,
                                    int32_t i, int32_t j, int32_t rank, int32_t cores) {
  F32x16 total = Zero();
  const int32_t r = kRank > 0 ? kRank : rank;
  for (int32_t c = 0; c < (kCores > 0 ? kCores : cores); ++c) {
    F32x16 sum = Mul(Splat(rows[c * r * padded + i]), Load(columns + j));
    for (int32_t rho = 1; rho < r; ++rho) {
      sum =
          Add(sum, Mul(Splat(rows[(c * r + rho) * padded + i]), Load(columns + rho * padded + j)));
    }
    total = c == 0 ? sum : Add(total, sum);
  }
  return total;
}

// Walks the k × k candidates row by row, sixteen at a time; only those above the running k-th best
// are looked at one by one. The first row fills the list.
template <bool kTucker, int kRank, int kCores>
void KeepBestCandidates(const ProductKeySelectArgs& args, const float* rows, const float* columns,
                        int32_t padded, Entry* kept) {
  const int32_t k = args.top_k;
  for (int32_t i = 0; i < k; ++i) {
    for (int32_t j = 0; j < k; j += 16) {
      float sums[16];
      F32x16 total;
      if constexpr (kTucker) {
        total = SumOfCores<kRank, kCores>(rows, columns, padded, i, j, args.rank, args.cores);
      } else {
        total = Add(Splat(rows[i]), Load(columns + j));
      }
      const int32_t lanes = k - j < 16 ? k - j : 16;
      if (i == 0) {
        Store(total, sums);
        for (int32_t n = 0; n < lanes; ++n) InsertEntry(kept, j + n, k, {sums[n], j + n});
        continue;
      }
      uint32_t better = Bits(Less(Splat(kept[k - 1].sum), total)) & ((1u << lanes) - 1);
      if (better == 0) continue;
      Store(total, sums);
      for (; better != 0; better &= better - 1) {
        const int32_t n = __builtin_ctz(better);
        if (sums[n] > kept[k - 1].sum) InsertEntry(kept, k, k, {sums[n], i * k + j + n});
      }
    }
  }
}

inline void SoftmaxOfHead(const float* score, int32_t count, float* weight) {
  float max = score[0];
  for (int32_t i = 1; i < count; ++i) max = score[i] > max ? score[i] : max;
  F32x16 sums = Zero();
  for (int32_t i = 0; i < count; i += 16) {
    const int32_t lanes = count - i < 16 ? count - i : 16;
    const F32x16 e = Exp(Sub(LoadPartial(score + i, lanes), Splat(max)));
    sums = Add(sums, Choose(FirstLanes(lanes), e, Zero()));
    StorePartial(e, weight + i, lanes);
  }
  const F32x16 sum = Splat(ReduceAdd(sums));
  for (int32_t i = 0; i < count; i += 16) {
    const int32_t lanes = count - i < 16 ? count - i : 16;
    StorePartial(Div(LoadPartial(weight + i, lanes), sum), weight + i, lanes);
  }
}

// Where a grid point lives. offset < slots.
MNEME_SIMD_INLINE void StoreAddress(const ProductKeySelectArgs& args, uint32_t address,
                                    int64_t offset, int32_t* group, int32_t* slot) {
  uint32_t g = 0;
  int64_t inside = address;
  if (args.window <= inside) {
    const uint32_t window = static_cast<uint32_t>(args.window);  // At most address, so it fits.
    g = address / window;
    inside = address - g * window;
  }
  inside += offset;
  if (inside >= args.slots) inside %= args.slots;
  *group = static_cast<int32_t>(g);
  *slot = static_cast<int32_t>(inside);
}

template <bool kTucker>
void WriteSelections(const ProductKeySelectArgs& args, int64_t t, int32_t head, const float* rows,
                     const float* columns, int32_t padded, const Entry* kept) {
  const int32_t k = args.top_k;
  const int32_t* row_index = args.index.row(t) + int64_t{head} * 2 * k;
  const int32_t* column_index = row_index + k;
  const int64_t first = int64_t{head} * k;
  const int64_t offset = args.offset < args.slots ? args.offset : args.offset % args.slots;
  int32_t* grid = args.grid.row(t) + first;
  // All grid points first: reads of the shuffle, far apart in memory, then overlap.
  for (int32_t s = 0; s < k; ++s) {
    const int32_t i = kept[s].candidate / k;
    const int32_t j = kept[s].candidate - i * k;
    grid[s] = row_index[i] * args.key_count + column_index[j];
    if (args.shuffle != nullptr) Prefetch(args.shuffle + grid[s]);
    float* raw = args.raw_score.row(t) + (first + s) * args.cores;
    if (!kTucker) {
      raw[0] = rows[i] + columns[j];
      continue;
    }
    for (int32_t c = 0; c < args.cores; ++c) {
      const float* row = rows + c * args.rank * padded + i;
      float sum = row[0] * columns[j];
      for (int32_t rho = 1; rho < args.rank; ++rho) {
        sum += row[rho * padded] * columns[rho * padded + j];
      }
      raw[c] = sum;
    }
  }
  for (int32_t s = 0; s < k; ++s) {
    const int32_t address = args.shuffle != nullptr ? args.shuffle[grid[s]] : grid[s];
    StoreAddress(args, static_cast<uint32_t>(address), offset, args.group.row(t) + first + s,
                 args.slot.row(t) + first + s);
  }
  if (args.weight.empty()) return;
  const float* raw = args.raw_score.row(t) + first * args.cores;
  float* weight = args.weight.row(t) + first * args.cores;
  if (!kTucker) {
    SoftmaxOfHead(raw, k, weight);
  } else if (weight != raw) {
    std::memcpy(weight, raw, sizeof(float) * k * args.cores);
  }
}

template <bool kTucker>
void SelectTokens(const ProductKeySelectArgs& args) {
  const SelectScratch scratch = CarveSelectScratch(args);
  const int32_t padded = scratch.padded;
  Entry* kept = static_cast<Entry*>(scratch.kept);
  for (int64_t t = 0; t < args.index.rows; ++t) {
    for (int32_t h = 0; h < args.heads; ++h) {
      const float* s1 = args.score.row(t) + int64_t{h} * 2 * args.top_k * args.rank;
      const float* s2 = s1 + int64_t{args.top_k} * args.rank;
      SplitRanks(s1, args.top_k, args.rank, padded, scratch.split);
      SplitRanks(s2, args.top_k, args.rank, padded, scratch.columns);
      const float* rows = scratch.split;
      if constexpr (kTucker) {
        RowsTimesCores(args, h, scratch.split, padded, scratch.rows);
        rows = scratch.rows;
        if (args.rank == 2 && args.cores == 2) {
          KeepBestCandidates<true, 2, 2>(args, rows, scratch.columns, padded, kept);
        } else {
          KeepBestCandidates<true, 0, 0>(args, rows, scratch.columns, padded, kept);
        }
      } else {
        KeepBestCandidates<false, 1, 1>(args, rows, scratch.columns, padded, kept);
      }
      WriteSelections<kTucker>(args, t, h, rows, scratch.columns, padded, kept);
    }
  }
}

inline Traffic ProductKeySelect(const ProductKeySelectArgs& args) {
  if (args.mode == ProductKeyMode::kTucker) {
    SelectTokens<true>(args);
  } else {
    SelectTokens<false>(args);
  }
  return ProductKeySelectTraffic(args);
}
