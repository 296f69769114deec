// Tiles of kT tokens by kO outputs keep kT·kO accumulators in registers. Whatever the tile, an
// accumulator sees the same MulAdds in the same order, also when it rests in memory between two
// blocks of the contraction, so the tile's shape never shows in the bits.
//
// Up to kTileTokens tokens (decode): rows of w are read once, straight into the tile; the streams
// of the next tile are prefetched. More tokens: w is widened to f32 block by block into a scratch
// that stays in L1 and serves kTokenBlock tokens.

// Accumulators, the tile's vectors of x and one vector of w fit the registers.
constexpr int kTileTokens = kSimdRegisters >= 32 ? 4 : kSimdRegisters >= 8 ? 2 : 1;
constexpr int TileOutputs(int tokens) {
  if (kSimdRegisters >= 32) return tokens <= 3 ? 8 : 6;
  if (kSimdRegisters >= 8) return tokens == 1 ? 4 : 3;
  return 2;
}

// The scratch of a tile of w: 6 rows of 4 KiB beside 4 rows of x in a 48 KiB L1.
constexpr int64_t kContractionBlock = 1024;
// Tokens that share a widened tile of w; their accumulators rest on the stack between blocks.
constexpr int64_t kTokenBlock = 64;
constexpr int64_t kXBlockBytes = int64_t{1} << 20;       // a block of x and
constexpr int64_t kWeightBlockBytes = int64_t{1} << 19;  // a block of w share a 2 MiB L2
// Distance of software prefetches along a row, in bytes.
constexpr int64_t kPrefetchBytes = 2048;

// acc[t][o] += the products at one vector (or, partial, the first n lanes of it).
template <int kT, int kO, class W>
MNEME_SIMD_INLINE void Step(const float* x, int64_t x_stride, const W* w, int64_t w_stride,
                            F32x16 (&acc)[kT * kO]) {
  F32x16 xs[kT];
#pragma GCC unroll 8
  for (int t = 0; t < kT; ++t) xs[t] = Load(x + t * x_stride);
#pragma GCC unroll 8
  for (int o = 0; o < kO; ++o) {
    const F32x16 ws = Load(w + o * w_stride);
#pragma GCC unroll 8
    for (int t = 0; t < kT; ++t) acc[t * kO + o] = MulAdd(xs[t], ws, acc[t * kO + o]);
  }
}

template <int kT, int kO, class W>
MNEME_SIMD_INLINE void PartialStep(const float* x, int64_t x_stride, const W* w, int64_t w_stride,
                                   int64_t n, F32x16 (&acc)[kT * kO]) {
  F32x16 xs[kT];
#pragma GCC unroll 8
  for (int t = 0; t < kT; ++t) xs[t] = LoadPartial(x + t * x_stride, n);
#pragma GCC unroll 8
  for (int o = 0; o < kO; ++o) {
    const F32x16 ws = LoadPartial(w + o * w_stride, n);
#pragma GCC unroll 8
    for (int t = 0; t < kT; ++t) acc[t * kO + o] = MulAdd(xs[t], ws, acc[t * kO + o]);
  }
}

// Sums, bias and scale of a finished tile.
template <int kT, int kO>
MNEME_SIMD_INLINE void Finish(const F32x16 (&acc)[kT * kO], const LinearArgs& args, int64_t t0,
                              int64_t o0) {
  float sums[kT * kO];
  ReduceAddEach<kT * kO>(acc, sums);
  for (int t = 0; t < kT; ++t) {
    float* y = args.y.row(t0 + t) + o0;
    for (int o = 0; o < kO; ++o) {
      float sum = sums[t * kO + o];
      if (args.bias != nullptr) sum += args.bias[o0 + o];
      y[o] = sum * args.scale;
    }
  }
}

// One tile over the whole contraction, prefetching the streams kPrefetchBytes ahead and, at the end
// of the rows, the first bytes of the next kO rows.
template <int kT, int kO, class W>
void StreamTile(const LinearArgs& args, Matrix<const W> w, int64_t t0, int64_t o0) {
  constexpr int64_t kLine = 64 / sizeof(W);
  constexpr int64_t kAhead = kPrefetchBytes / sizeof(W);
  const float* x = args.x.row(t0);
  const W* rows = w.row(o0);
  const int64_t x_stride = args.x.row_stride;
  const int64_t w_stride = w.row_stride;
  const int64_t in = w.cols;
  F32x16 acc[kT * kO];
#pragma GCC unroll 32
  for (F32x16& a : acc) a = Zero();
  const int64_t within = in > kAhead ? in - kAhead : 0;
  int64_t i = 0;
  for (int part = 0; part < 2; ++part) {
    // A prefetch may point anywhere; the address is computed as a number, for it can lie outside.
    const int64_t delta = part == 0 ? kAhead : kO * w_stride - within;
    const int64_t end = part == 0 ? within : in;
    const uintptr_t ahead = reinterpret_cast<uintptr_t>(rows) + delta * sizeof(W);
    for (; i + kLine <= end; i += kLine) {
#pragma GCC unroll 8
      for (int o = 0; o < kO; ++o) {
        Prefetch(reinterpret_cast<const void*>(ahead + (o * w_stride + i) * sizeof(W)));
      }
#pragma GCC unroll 2
      for (int64_t j = 0; j < kLine; j += 16) {
        Step<kT, kO>(x + i + j, x_stride, rows + i + j, w_stride, acc);
      }
    }
  }
  for (; i + 16 <= in; i += 16) Step<kT, kO>(x + i, x_stride, rows + i, w_stride, acc);
  if (i < in) PartialStep<kT, kO>(x + i, x_stride, rows + i, w_stride, in - i, acc);
  Finish<kT, kO>(acc, args, t0, o0);
}

template <int kT, class W>
void StreamRows(const LinearArgs& args, Matrix<const W> w) {
  constexpr int kO = TileOutputs(kT);
  if (w.rows < kO) {
    for (int64_t o = 0; o < w.rows; ++o) StreamTile<kT, 1>(args, w, 0, o);
    return;
  }
  // The last tile overlaps the one before it where out is no multiple of kO: it writes the same
  // bits again.
  for (int64_t o = 0; o < w.rows; o += kO) {
    StreamTile<kT, kO>(args, w, 0, std::min(o, w.rows - kO));
  }
}

// One block [begin, end) of the contraction of one tile. `saved` holds the accumulators between
// blocks.
template <int kT, int kO>
void BlockTile(const LinearArgs& args, const float* w, int64_t w_stride, int64_t t0, int64_t o0,
               int64_t begin, int64_t end, float* saved) {
  const float* x = args.x.row(t0) + begin;
  const int64_t x_stride = args.x.row_stride;
  const int64_t n = end - begin;
  F32x16 acc[kT * kO];
#pragma GCC unroll 32
  for (int j = 0; j < kT * kO; ++j) acc[j] = begin == 0 ? Zero() : Load(saved + 16 * j);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) Step<kT, kO>(x + i, x_stride, w + i, w_stride, acc);
  if (i < n) PartialStep<kT, kO>(x + i, x_stride, w + i, w_stride, n - i, acc);
  if (end == args.w.cols) {
    Finish<kT, kO>(acc, args, t0, o0);
  } else {
#pragma GCC unroll 32
    for (int j = 0; j < kT * kO; ++j) Store(acc[j], saved + 16 * j);
  }
}

template <int kO>
MNEME_SIMD_INLINE void BlockTokens(const LinearArgs& args, const float* w, int64_t w_stride,
                                   int64_t t0, int64_t t1, int64_t o0, int64_t begin, int64_t end,
                                   float* saved) {
  int64_t t = t0;
  for (; t + kTileTokens <= t1; t += kTileTokens) {
    BlockTile<kTileTokens, kO>(args, w, w_stride, t, o0, begin, end, saved + (t - t0) * kO * 16);
  }
  float* rest = saved + (t - t0) * kO * 16;
  if constexpr (kTileTokens > 3) {
    if (t1 - t == 3) BlockTile<3, kO>(args, w, w_stride, t, o0, begin, end, rest);
  }
  if constexpr (kTileTokens > 2) {
    if (t1 - t == 2) BlockTile<2, kO>(args, w, w_stride, t, o0, begin, end, rest);
  }
  if constexpr (kTileTokens > 1) {
    if (t1 - t == 1) BlockTile<1, kO>(args, w, w_stride, t, o0, begin, end, rest);
  }
}

// Rows [o0, o0 + kO) of w for tokens [t0, t1), t1 - t0 <= kTokenBlock.
template <int kO, class W>
void BlockRows(const LinearArgs& args, Matrix<const W> w, int64_t t0, int64_t t1, int64_t o0) {
  alignas(64) float widened[std::is_same_v<W, float> ? 16 : kO * kContractionBlock];
  alignas(64) float saved[kTokenBlock * kO * 16];
  const int64_t in = w.cols;
  // Blocks of equal size, in whole vectors; one block where in is 0.
  const int64_t blocks = std::max<int64_t>(1, (in + kContractionBlock - 1) / kContractionBlock);
  const int64_t size = std::max<int64_t>(16, ((in + blocks - 1) / blocks + 15) / 16 * 16);
  int64_t begin = 0;
  do {
    const int64_t end = std::min(begin + size, in);
    if constexpr (std::is_same_v<W, float>) {
      BlockTokens<kO>(args, w.row(o0) + begin, w.row_stride, t0, t1, o0, begin, end, saved);
    } else {
      for (int o = 0; o < kO; ++o) {
        const W* row = w.row(o0 + o) + begin;
        const W* next = row + kO * w.row_stride;
        float* wide = widened + o * kContractionBlock;
        int64_t i = 0;
        for (; i + 32 <= end - begin; i += 32) {
          Prefetch(next + i);
          Store(Load(row + i), wide + i);
          Store(Load(row + i + 16), wide + i + 16);
        }
        for (; i < end - begin; i += 16) {
          const int64_t n = std::min<int64_t>(16, end - begin - i);
          Store(LoadPartial(row + i, n), wide + i);
        }
      }
      BlockTokens<kO>(args, widened, kContractionBlock, t0, t1, o0, begin, end, saved);
    }
    begin = end;
  } while (begin < in);
}

template <int kO, class W>
void Blocked(const LinearArgs& args, Matrix<const W> w) {
  const int64_t tokens = args.x.rows;
  const int64_t row_bytes = std::max<int64_t>(1, w.cols) * 4;
  const int64_t token_block =
      std::clamp<int64_t>(kXBlockBytes / row_bytes / 4 * 4, 16, kTokenBlock);
  const int64_t weight_rows = std::max<int64_t>(
      kO, kWeightBlockBytes / (row_bytes / 4 * static_cast<int64_t>(sizeof(W))) / kO * kO);
  for (int64_t first = 0; first < w.rows; first += weight_rows) {
    const int64_t last = std::min(first + weight_rows, w.rows);
    for (int64_t t = 0; t < tokens; t += token_block) {
      for (int64_t o = first; o < last; o += kO) {
        BlockRows<kO>(args, w, t, std::min(t + token_block, tokens), std::min(o, w.rows - kO));
      }
    }
  }
}

template <class W>
Traffic Linear(const LinearArgs& args) {
  const Matrix<const W> w = args.w.As<W>();
  const int64_t tokens = args.x.rows;
  if (tokens == 1) {
    StreamRows<1>(args, w);
  } else if (tokens == 2 && kTileTokens >= 2) {
    StreamRows<kTileTokens >= 2 ? 2 : 1>(args, w);
  } else if (tokens == 3 && kTileTokens >= 3) {
    StreamRows<kTileTokens >= 3 ? 3 : 1>(args, w);
  } else if (tokens == 4 && kTileTokens >= 4) {
    StreamRows<kTileTokens >= 4 ? 4 : 1>(args, w);
  } else if (w.rows >= TileOutputs(kTileTokens)) {
    Blocked<TileOutputs(kTileTokens)>(args, w);
  } else {
    Blocked<1>(args, w);
  }
  return LinearTraffic(args);
}
