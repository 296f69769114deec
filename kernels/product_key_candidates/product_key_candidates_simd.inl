// Body of product_key_candidates_cpu.cc, once per instruction set. Invariants:
//  1. The dot of one query with one key and rank is sixteen partial sums (lane l: dimensions l,
//     l + 16, ...) in one accumulator, added by ReduceAdd's tree; tiles of tokens and keys only
//     change which accumulators live together.
//  2. Keys are met in ascending order and a later key must score strictly more to pass an earlier
//     one, so ties keep the lower index.
//  3. A token's kept entries are always sorted; kept[0, filled) with filled = min(top_k, keys met),
//     each of a key that was met, so indices are valid even for NaN scores.

template <int kRank>
struct Kept {
  float preselect;
  int32_t index;
  float score[kRank];
};

#include "kernels/product_key_candidates/product_key_candidates_load_simd.inl"
#include "kernels/simd/top_k.inl"
static_assert(kTopKMost <= kCompetitors);

// What one (head, side) needs, beside the tile's prepared queries.
template <class Key>
struct Side {
  const ProductKeyCandidatesArgs* args;
  const Key* keys;            // [key_count, key_dim * rank]
  const float* inverse_norm;  // [key_count, rank] or null
  const float* mean;          // [key_count, rank] or null
  const float* direction;     // [rank] or null
  int64_t query_column;
  int64_t first_out;  // column of index where this side's candidates start
};

// Adds sixteen dimensions from d of kTokens queries times kKeys keys to the sums.
template <int kTokens, int kKeys, int kRank, bool kPartial, class Key>
MNEME_SIMD_INLINE void DotStep(const float* queries, int32_t padded_dim, const Key* const* key,
                               int32_t d, int32_t lanes, int64_t ahead, F32x16* sum) {
  F32x16 q[kTokens];
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) q[t] = Load(queries + int64_t{t} * padded_dim + d);
#pragma GCC unroll 16
  for (int n = 0; n < kKeys; ++n) {
    const Key* p = key[n] + int64_t{d} * kRank;
    F32x16 ranks[kRank];
    if constexpr (kPartial) {
      LoadKeyPartial<kRank>(p, lanes, ranks);
    } else {
      Prefetch(p + ahead);
      LoadKey<kRank>(p, ranks);
    }
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 16
      for (int rho = 0; rho < kRank; ++rho) {
        F32x16& s = sum[(t * kKeys + n) * kRank + rho];
        s = MulAdd(q[t], ranks[rho], s);
      }
    }
  }
}

// dots[t * dots_stride + n * kRank + ρ] of kTokens queries and kKeys keys from `first`. Keys past
// the last one are computed as the last one again.
template <int kTokens, int kKeys, int kRank, class Key>
void DotTile(const Side<Key>& side, const float* queries, int32_t padded_dim, int32_t first,
             float* dots, int64_t dots_stride) {
  const int32_t dim = side.args->key_dim;
  const int32_t count = side.args->key_count;
  const Key* key[kKeys];
#pragma GCC unroll 16
  for (int n = 0; n < kKeys; ++n) {
    const int32_t row = first + n < count ? first + n : count - 1;
    key[n] = side.keys + int64_t{row} * dim * kRank;
  }
  F32x16 sum[kTokens * kKeys * kRank];
#pragma GCC unroll 16
  for (F32x16& s : sum) s = Zero();
  // The rows of a tile lie side by side, so a hardware prefetcher sees several short streams; the
  // next tile is asked for explicitly.
  const int64_t ahead = int64_t{kKeys} * dim * kRank;
  int32_t d = 0;
  for (; d + 16 <= dim; d += 16) {
    DotStep<kTokens, kKeys, kRank, false>(queries, padded_dim, key, d, 16, ahead, sum);
  }
  if (d < dim) {
    DotStep<kTokens, kKeys, kRank, true>(queries, padded_dim, key, d, dim - d, ahead, sum);
  }
  float out[16];
  static_assert(kTokens * kKeys * kRank <= 16);
  ReduceAddEach<kTokens * kKeys * kRank>(sum, out);
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 16
    for (int i = 0; i < kKeys * kRank; ++i) dots[t * dots_stride + i] = out[t * kKeys * kRank + i];
  }
}

// Ranks that no published model uses: plain sums.
template <class Key>
void DotAnyRank(const Side<Key>& side, const float* query, int32_t first, int32_t keys,
                float* dots) {
  const int32_t rank = side.args->rank;
  const int64_t row = int64_t{side.args->key_dim} * rank;
  for (int32_t n = 0; n < keys; ++n) {
    const Key* key = side.keys + (first + n) * row;
    for (int32_t rho = 0; rho < rank; ++rho) {
      float sum = 0;
      for (int32_t k = 0; k < side.args->key_dim; ++k) {
        sum += query[k] * ToFloat(key[int64_t{k} * rank + rho]);
      }
      dots[int64_t{n} * rank + rho] = sum;
    }
  }
}

// Dots of `tokens` queries (at most kTokensAtOnce) with the block of keys at `first`.
template <int kRank, class Key>
void DotBlock(const Side<Key>& side, const CandidateScratch& scratch, int32_t tokens, int32_t first,
              int32_t keys) {
  if constexpr (kRank == 0) {
    for (int32_t t = 0; t < tokens; ++t) {
      DotAnyRank(side, scratch.query(t), first, keys, scratch.dots(t));
    }
  } else {
    constexpr int kTile = (kSimdRegisters >= 32 ? 16 : 4) / kRank;
    const int32_t pad = scratch.padded_dim;
    int32_t n = 0;
    if (tokens == 1) {
      for (; n < keys; n += kTile) {
        DotTile<1, kTile, kRank>(side, scratch.query(0), pad, first + n,
                                 scratch.dots(0) + n * kRank, scratch.dots_stride);
      }
    } else if (tokens == 2) {
      for (; n < keys; n += kTile / 2) {
        DotTile<2, kTile / 2, kRank>(side, scratch.query(0), pad, first + n,
                                     scratch.dots(0) + n * kRank, scratch.dots_stride);
      }
    } else if constexpr (kTile >= 8) {
      // Three tokens are computed as four, the fourth unused.
      for (; n < keys; n += kTile / 4) {
        DotTile<4, kTile / 4, kRank>(side, scratch.query(0), pad, first + n,
                                     scratch.dots(0) + n * kRank, scratch.dots_stride);
      }
    } else {
      for (int32_t t = 0; t < 4; t += 2) {
        for (n = 0; n < keys; n += kTile / 2) {
          DotTile<2, kTile / 2, kRank>(side, scratch.query(t), pad, first + n,
                                       scratch.dots(t) + n * kRank, scratch.dots_stride);
        }
      }
    }
  }
}

// The query chunk of a token times the norm's weight, padded with zeros; and the two sums that the
// mean and the bias of the norm need.
template <class Key>
void PrepareQuery(const Side<Key>& side, const float* q, float* prepared, float* weighted_sum,
                  float* bias) {
  const ProductKeyCandidatesArgs& args = *side.args;
  const bool weighted = side.inverse_norm != nullptr && args.norm_weight != nullptr;
  const bool biased = side.inverse_norm != nullptr && args.norm_bias != nullptr;
  F32x16 sum = Zero();
  F32x16 bias_sum = Zero();
  for (int32_t d = 0; d < args.key_dim; d += 16) {
    const int32_t lanes = args.key_dim - d < 16 ? args.key_dim - d : 16;
    F32x16 x = LoadPartial(q + d, lanes);
    if (biased) bias_sum = MulAdd(x, LoadPartial(args.norm_bias + d, lanes), bias_sum);
    if (weighted) x = Mul(x, LoadPartial(args.norm_weight + d, lanes));
    sum = Add(sum, x);
    Store(x, prepared + d);
  }
  *weighted_sum = ReduceAdd(sum);
  *bias = ReduceAdd(bias_sum);
}

// dots -> scores, in place, for one token: the key norm's factors.
template <class Key>
void ApplyNorm(const Side<Key>& side, int64_t first, int64_t count, float weighted_sum, float bias,
               float* scores) {
  if (side.inverse_norm == nullptr) return;
  for (int64_t i = 0; i < count; i += 16) {
    const int64_t lanes = count - i < 16 ? count - i : 16;
    F32x16 x = Load(scores + i);
    if (side.mean != nullptr) {
      x = Sub(x, Mul(LoadPartial(side.mean + first + i, lanes), Splat(weighted_sum)));
    }
    x = Add(Mul(LoadPartial(side.inverse_norm + first + i, lanes), x), Splat(bias));
    Store(x, scores + i);
  }
}

// One entry's preselect score. Also in PreselectBlock, operation for operation.
inline float Preselect(const float* score, const float* direction, int32_t rank) {
  if (direction == nullptr) return score[0];
  float sum = score[0] * direction[0];
  for (int32_t rho = 1; rho < rank; ++rho) sum += score[rho] * direction[rho];
  return sum;
}

template <int kRank>
void PreselectBlock(const float* scores, const float* direction, int32_t rank, int32_t keys,
                    float* preselect) {
  if (kRank == 2 && direction != nullptr) {
    const F32x16 d0 = Splat(direction[0]);
    const F32x16 d1 = Splat(direction[1]);
    for (int32_t n = 0; n < keys; n += 16) {
      F32x16 s0;
      F32x16 s1;
      LoadPairs(scores + 2 * n, s0, s1);
      Store(Add(Mul(s0, d0), Mul(s1, d1)), preselect + n);
    }
    return;
  }
  for (int32_t n = 0; n < keys; ++n) {
    preselect[n] = Preselect(scores + int64_t{n} * rank, direction, rank);
  }
}

// Puts an entry into the sorted ones, after all that score at least as much; the last one falls off
// where the list is full.
template <int kRank>
MNEME_SIMD_INLINE void Insert(Kept<kRank>* kept, int32_t filled, int32_t top_k,
                              const Kept<kRank>& entry) {
  int32_t place = filled < top_k ? filled : top_k - 1;
  while (place > 0 && kept[place - 1].preselect < entry.preselect) {
    kept[place] = kept[place - 1];
    --place;
  }
  kept[place] = entry;
}

template <int kRank>
MNEME_SIMD_INLINE Kept<kRank> MakeKept(float preselect, int32_t index, const float* score,
                                       int32_t rank) {
  Kept<kRank> kept;
  kept.preselect = preselect;
  kept.index = index;
  for (int32_t rho = 0; rho < rank; ++rho) kept.score[rho] = score[rho];
  return kept;
}

// One key after the other against the entries: whatever the scores are.
template <int kRank>
void InsertBest(Kept<kRank>* kept, int32_t top_k, int32_t first, int32_t keys, const float* scores,
                const float* preselect, int32_t rank) {
  for (int32_t n = 0; n < keys; ++n) {
    const bool full = first + n >= top_k;
    if (full && !(preselect[n] > kept[top_k - 1].preselect)) continue;
    Insert<kRank>(kept, std::min(first + n, top_k), top_k,
                  MakeKept<kRank>(preselect[n], first + n, scores + int64_t{n} * rank, rank));
  }
}

// The best of the entries and of the block's keys; `preselect` has room for the entries' before it.
template <int kRank>
void KeepBest(Kept<kRank>* kept, int32_t top_k, int32_t first, int32_t keys, const float* scores,
              float* preselect, int32_t rank) {
  const int32_t filled = std::min(first, top_k);
  const int32_t after = std::min(first + keys, top_k);
  int32_t places[kTopKMost + 1];
  bool ranked = false;
  if (top_k <= kTopKMost) {
    for (int32_t i = 0; i < filled; ++i) preselect[i - filled] = kept[i].preselect;
    const float least = filled == top_k ? kept[top_k - 1].preselect : -__builtin_inff();
    ranked = TopK(preselect - filled, filled + keys, after, least, places);
  }
  if (!ranked) {
    InsertBest<kRank>(kept, top_k, first, keys, scores, preselect, rank);
    return;
  }
  Kept<kRank> best[kTopKMost];
  for (int32_t i = 0; i < after; ++i) {
    const int32_t n = places[i] - filled;
    best[i] = n < 0 ? kept[places[i]]
                    : MakeKept<kRank>(preselect[n], first + n, scores + int64_t{n} * rank, rank);
  }
  std::copy_n(best, after, kept);
}

template <int kRank, class Key>
void StoreKept(const Side<Key>& side, const Kept<kRank>* kept, int64_t token, int32_t filled) {
  const int32_t rank = side.args->rank;
  int32_t* index = side.args->index.row(token) + side.first_out;
  float* score = side.args->score.row(token) + side.first_out * rank;
  for (int32_t i = 0; i < filled; ++i) {
    index[i] = side.args->first_key + kept[i].index;
    for (int32_t rho = 0; rho < rank; ++rho) score[i * rank + rho] = kept[i].score[rho];
  }
}

template <int kRank, class Key>
void LoadKept(const Side<Key>& side, Kept<kRank>* kept, int64_t token, int32_t filled) {
  const int32_t rank = side.args->rank;
  const int32_t* index = side.args->index.row(token) + side.first_out;
  const float* score = side.args->score.row(token) + side.first_out * rank;
  for (int32_t i = 0; i < filled; ++i) {
    kept[i].index = index[i] - side.args->first_key;
    for (int32_t rho = 0; rho < rank; ++rho) kept[i].score[rho] = score[i * rank + rho];
    kept[i].preselect = Preselect(score + i * rank, side.direction, rank);
  }
}

// One block of keys against a tile of tokens, whose entries are in scratch.
template <int kRank, int kKeptRank, class Key>
void MeetBlock(const Side<Key>& side, const CandidateScratch& scratch, int32_t tokens,
               int32_t first, int32_t keys) {
  const int32_t rank = side.args->rank;
  DotBlock<kRank>(side, scratch, tokens, first, keys);
  for (int32_t t = 0; t < tokens; ++t) {
    float* scores = scratch.dots(t);
    ApplyNorm(side, int64_t{first} * rank, int64_t{keys} * rank, scratch.weighted_sum[t],
              scratch.bias[t], scores);
    PreselectBlock<kRank>(scores, side.direction, rank, keys, scratch.preselect);
    KeepBest<kKeptRank>(static_cast<Kept<kKeptRank>*>(scratch.kept(t)), side.args->top_k, first,
                        keys, scores, scratch.preselect, rank);
  }
}

// All keys of one head and side against all tokens: blocks of keys outside, tiles of tokens inside,
// so that each key comes from memory once. A single tile keeps its queries and entries in scratch;
// of several, each takes them up again for every block, entries from the outputs.
template <int kRank, class Key>
void MeetSide(const Side<Key>& side, const CandidateScratch& scratch) {
  constexpr int kKeptRank = kRank == 0 ? 8 : kRank;
  const ProductKeyCandidatesArgs& args = *side.args;
  const int64_t tokens = args.query.rows;
  const bool one_tile = tokens <= kTokensAtOnce;
  for (int32_t first = 0; first < args.key_count; first += kKeysPerBlock) {
    const int32_t keys =
        args.key_count - first < kKeysPerBlock ? args.key_count - first : kKeysPerBlock;
    const int32_t before = first < args.top_k ? first : args.top_k;
    const int32_t after = first + keys < args.top_k ? first + keys : args.top_k;
    const bool last = first + keys == args.key_count;
    for (int64_t token = 0; token < tokens; token += kTokensAtOnce) {
      const int32_t tile =
          static_cast<int32_t>(tokens - token < kTokensAtOnce ? tokens - token : kTokensAtOnce);
      for (int32_t t = 0; t < tile; ++t) {
        if (!one_tile || first == 0) {
          PrepareQuery(side, args.query.row(token + t) + side.query_column, scratch.query(t),
                       &scratch.weighted_sum[t], &scratch.bias[t]);
        }
        if (!one_tile) {
          LoadKept(side, static_cast<Kept<kKeptRank>*>(scratch.kept(t)), token + t, before);
        }
      }
      MeetBlock<kRank, kKeptRank>(side, scratch, tile, first, keys);
      for (int32_t t = 0; t < tile && (!one_tile || last); ++t) {
        StoreKept(side, static_cast<Kept<kKeptRank>*>(scratch.kept(t)), token + t, after);
      }
    }
  }
}

template <class Key>
Traffic ProductKeyCandidates(const ProductKeyCandidatesArgs& args) {
  const CandidateScratch scratch = CarveCandidateScratch(
      args.scratch, {args.heads, args.key_count, args.key_dim, args.rank, args.top_k});
  const int64_t stride = args.key_stride > 0 ? args.key_stride : args.key_count;
  const int64_t factors = stride * args.rank;
  for (int32_t h = 0; h < args.heads; ++h) {
    for (int32_t j = 0; j < 2; ++j) {
      const int64_t number = int64_t{h} * 2 + j;
      const float* direction = j == 0 ? args.row_direction : args.column_direction;
      Side<Key> side;
      side.args = &args;
      side.keys = args.keys.As<Key>().row(number * stride);
      side.inverse_norm =
          args.inverse_norm == nullptr ? nullptr : args.inverse_norm + number * factors;
      side.mean = side.inverse_norm == nullptr || args.mean == nullptr
                      ? nullptr
                      : args.mean + number * factors;
      side.direction = direction == nullptr ? nullptr : direction + int64_t{h} * args.rank;
      side.query_column = int64_t{2 * (h / args.heads_per_group) + j} * args.key_dim;
      side.first_out = number * args.top_k;
      if (args.rank == 1) {
        MeetSide<1>(side, scratch);
      } else if (args.rank == 2) {
        MeetSide<2>(side, scratch);
      } else {
        MeetSide<0>(side, scratch);
      }
    }
  }
  return ProductKeyCandidatesTraffic(args);
}
