// Tiles of kT tokens by kO outputs keep kT·kO accumulators in registers. Whatever the tile, an
// accumulator sees the same MulAdds in the same order, also when it rests in memory between two
// blocks of the contraction, so the tile's shape never shows in the bits.
//
// Up to kTileTokens tokens, on AVX-512 one more (decode): rows of w are read once, straight into
// the tile, and the streams are prefetched into L1. One token on cached bf16 weights is bound by
// the widening, not by the reading: a permutation and a multiply-add per vector compete for two
// ports.
//
// More tokens: w is widened to f32 block by block into a scratch that stays in L1 and serves up to
// kTokenBlock tokens; the next rows are prefetched into L2, spread over the first tiles (in a burst
// they would fill the line buffers). Bound by the loads, 11 to 24 multiply-adds: registers alone
// reach 85 % of the multiply-add peak beside them. Where an F32x16 takes several registers, a tile
// goes over the block once for each part of the sixteen lanes: with all of them at once it would
// have too few outputs for its loads, or spill.

// Of rows read straight into the tile. Accumulators, the tile's vectors of x and one vector of w
// fit the registers.
constexpr int kTileTokens = kSimdRegisters >= 32 ? 3 : kSimdRegisters >= 8 ? 2 : 1;
constexpr int TileOutputs(int tokens) {
  if (kSimdRegisters >= 32) return tokens <= 3 ? 8 : 6;
  if (kSimdRegisters >= 8) return tokens == 1 ? 4 : 2;
  return 2;
}
// Distance of software prefetches along a row, in bytes.
constexpr int64_t kPrefetchBytes = 2048;

// How Step loads: whole vectors; the same, with lanes in any order (the accumulators' too); the
// first n elements of one.
enum class Lanes { kInOrder, kInAnyOrder, kPartial };

template <Lanes kLanes, class T>
MNEME_SIMD_INLINE F32x16 LoadLanes(const T* p, int64_t n) {
  if constexpr (kLanes == Lanes::kPartial) return LoadPartial(p, n);
  if constexpr (kLanes == Lanes::kInAnyOrder) return LoadInAnyOrder(p);
  return Load(p);
}

// acc[t][o] += the products at elements [i, i + 16), of which the first n are there.
template <int kT, int kO, Lanes kLanes, class W>
MNEME_SIMD_INLINE void Step(const float* const (&x)[kT], const W* const (&w)[kO], int64_t i,
                            int64_t n, F32x16 (&acc)[kT * kO]) {
  F32x16 xs[kT];
#pragma GCC unroll 8
  for (int t = 0; t < kT; ++t) {
    xs[t] = InRegister(LoadLanes<kLanes>(x[t] + i, n));
  }
#pragma GCC unroll 8
  for (int o = 0; o < kO; ++o) {
    F32x16 ws = LoadLanes<kLanes>(w[o] + i, n);
    if (kT > 1) ws = InRegister(ws);
#pragma GCC unroll 8
    for (int t = 0; t < kT; ++t) acc[t * kO + o] = MulAdd(xs[t], ws, acc[t * kO + o]);
  }
}

// Pointers to kCount rows, each in a register of its own: left to itself the compiler derives a
// pointer per row, offset and prefetch, and runs out of registers.
template <int kCount, class T>
MNEME_SIMD_INLINE void RowPointers(T* first, int64_t stride, T* (&rows)[kCount]) {
#pragma GCC unroll 8
  for (int r = 0; r < kCount; ++r) rows[r] = Opaque(first + r * stride);
}

// Sums, bias and scale of a finished tile.
template <int kT, int kO>
MNEME_SIMD_INLINE void Finish(const F32x16 (&acc)[kT * kO], const LinearArgs& args, int64_t t0,
                              int64_t o0) {
  if constexpr (kO == 8) {
    // Two tokens to a vector.
    const float* b = args.bias + o0;
    const F32x16 bias = args.bias != nullptr ? LoadHalves(b, b) : Zero();
    const F32x16 scale = Splat(args.scale);
#pragma GCC unroll 8
    for (int t = 0; t < kT; t += 2) {
      F32x16 sums = t + 1 < kT ? ReduceAdd16(acc + t * 8) : ReduceAdd8(acc + t * 8);
      if (args.bias != nullptr) sums = Add(sums, bias);
      float* y = args.y.row(t0 + t) + o0;
      StoreHalves(Mul(sums, scale), y, t + 1 < kT ? y + args.y.row_stride : y);
    }
    return;
  }
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
// of the rows, the first bytes of rows of a later tile.
template <int kT, int kO, class W>
void StreamTile(const LinearArgs& args, Matrix<const W> w, int64_t t0, int64_t o0) {
  constexpr int64_t kLine = 64 / sizeof(W);
  constexpr int64_t kAhead = kPrefetchBytes / sizeof(W);
  // A sum stays in its lane, wherever that is: its bits do not depend on the order of lanes.
  constexpr Lanes kWhole = std::is_same_v<W, Bf16> ? Lanes::kInAnyOrder : Lanes::kInOrder;
  const int64_t in = w.cols;
  const float* x[kT];
  const W* rows[kO];
  RowPointers<kT>(args.x.row(t0), args.x.row_stride, x);
  RowPointers<kO>(w.row(o0), w.row_stride, rows);
  F32x16 acc[kT * kO];
#pragma GCC unroll 32
  for (F32x16& a : acc) a = Zero();
  const int64_t within = in > kAhead ? in - kAhead : 0;
  int64_t i = 0;
  // Of short rows several tiles, to be as far ahead as in long ones: a third faster from L3 (AVX2,
  // rows of 512 bytes) than one tile.
  const int64_t tiles = std::max<int64_t>(1, kAhead / std::max<int64_t>(1, in));
  for (int part = 0; part < 2; ++part) {
    const int64_t delta = part == 0 ? kAhead : tiles * kO * w.row_stride - within;
    const int64_t end = part == 0 ? within : in;
    for (; i + kLine <= end; i += kLine) {
      // Computed as a number, for it may lie outside the matrix.
      const uintptr_t ahead = Opaque(static_cast<uintptr_t>(i + delta) * sizeof(W));
#pragma GCC unroll 8
      for (int o = 0; o < kO; ++o) {
        Prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(rows[o]) + ahead));
      }
#pragma GCC unroll 2
      for (int64_t j = 0; j < kLine; j += 16) Step<kT, kO, kWhole>(x, rows, i + j, 16, acc);
    }
  }
  for (; i + 16 <= in; i += 16) Step<kT, kO, kWhole>(x, rows, i, 16, acc);
  if constexpr (kWhole == Lanes::kInAnyOrder) {
#pragma GCC unroll 32
    for (F32x16& a : acc) a = InOrder(a);
  }
  if (i < in) Step<kT, kO, Lanes::kPartial>(x, rows, i, in - i, acc);
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

#include "kernels/linear/linear_block_simd.inl"

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
  } else if (tokens == 4 && kSimdRegisters >= 32) {
    StreamRows<kSimdRegisters >= 32 ? 4 : 1>(args, w);
  } else if (w.rows >= kBlockTileOutputs) {
    Blocked<kBlockTileOutputs>(args, w);
  } else {
    Blocked<1>(args, w);
  }
  return LinearTraffic(args);
}
