// Batches: blocks of widened weights for many tokens. A part of linear_simd.inl, which includes it
// and says why.

// Of widened blocks: twelve accumulators beside three vectors of x and one of w in 16 registers;
// eight where a multiply-add takes a register for the product.
constexpr int kBlockTileTokens = kSimdRegisters >= 8 ? 3 : 2;
constexpr int kBlockTileOutputs = kSimdRegisters >= 32 ? TileOutputs(3) : 4;

// The scratch of a tile of w: 8 rows of 2 KiB, beside 3 rows of x and the accumulators that rest,
// in a 32 KiB L1. Measured: 256 spends more on resting, 1024 falls out of L1.
constexpr int64_t kContractionBlock = 512;
// Rows of the scratch are not a whole number of pages apart, or all would compete for one cache
// set.
constexpr int64_t kScratchStride = kContractionBlock + 16;
// Tokens that share a widened tile of w; their accumulators rest on the stack between blocks.
constexpr int64_t kTokenBlock = 64;
constexpr int64_t kXBlockBytes = int64_t{1} << 20;       // a block of x and
constexpr int64_t kWeightBlockBytes = int64_t{1} << 19;  // a block of w share a 2 MiB L2

// What the tiles of one block of the contraction share.
struct Block {
  const float* w;  // [kO, end - begin], rows w_stride apart
  int64_t w_stride;
  int64_t begin;
  int64_t end;
  int64_t o0;
  uintptr_t next;       // this block's columns in the rows of w after these, as numbers: they may
  int64_t next_stride;  // lie outside the matrix; bytes from row to row
  int64_t next_row_bytes;
};

// Two stretches of memory that a tile prefetches, a line to each vector of the contraction; 0:
// none.
struct Ahead {
  uintptr_t first = 0;
  uintptr_t second = 0;
};

// Lanes [kPartLanes · part, ...) of the products of whole vectors. `saved` holds the sums before
// (unless it is the first block) and after.
template <int kT, int kO, bool kPrefetch>
void BlockPart(const float* const* x, const float* const* w, int64_t n, int part, bool first,
               Ahead ahead, float* saved) {
  F32Part acc[kT * kO];
  const float* xs[kT];
  const float* ws[kO];
  const int offset = part * kPartLanes;
#pragma GCC unroll 8
  for (int t = 0; t < kT; ++t) xs[t] = Opaque(x[t] + offset);
#pragma GCC unroll 8
  for (int o = 0; o < kO; ++o) ws[o] = Opaque(w[o] + offset);
  const float* from = saved + offset;
#pragma GCC unroll 32
  for (int j = 0; j < kT * kO; ++j) {
    acc[j] = first ? F32Part{} : LoadPart(from + 16 * j);
  }
  const int64_t half = n / 32 * 16;
  for (int64_t i = 0; i + 16 <= n; i += 16) {
    if constexpr (kPrefetch) {
      // 64 bytes per 16 elements: 4·i is the distance.
      const uintptr_t line = i < half ? ahead.first + 4 * static_cast<uintptr_t>(i)
                                      : ahead.second + 4 * static_cast<uintptr_t>(i - half);
      PrefetchToL2(reinterpret_cast<const void*>(line));
    }
    F32Part xv[kT];
#pragma GCC unroll 8
    for (int t = 0; t < kT; ++t) xv[t] = InRegisterPart(LoadPart(xs[t] + i));
#pragma GCC unroll 8
    for (int o = 0; o < kO; ++o) {
      const F32Part wv = InRegisterPart(LoadPart(ws[o] + i));
#pragma GCC unroll 8
      for (int t = 0; t < kT; ++t) acc[t * kO + o] = MulAddPart(xv[t], wv, acc[t * kO + o]);
    }
  }
  // Not the addresses of before, which would have been kept on the stack.
  float* to = Opaque(saved + offset);
#pragma GCC unroll 32
  for (int j = 0; j < kT * kO; ++j) StorePart(acc[j], to + 16 * j);
}

// BlockTile part by part.
template <int kT, int kO>
void BlockTileInParts(const LinearArgs& args, const Block& block, int64_t t0, Ahead ahead,
                      float* saved) {
  const int64_t n = block.end - block.begin;
  const int64_t whole = n / 16 * 16;
  const float* x[kT];
  const float* w[kO];
  RowPointers<kT>(args.x.row(t0) + block.begin, args.x.row_stride, x);
  RowPointers<kO>(block.w, block.w_stride, w);
  const bool first = block.begin == 0;
  if (ahead.first != 0) {
    BlockPart<kT, kO, true>(x, w, n, 0, first, ahead, saved);
  } else {
    BlockPart<kT, kO, false>(x, w, n, 0, first, ahead, saved);
  }
  for (int part = 1; part < kSimdParts; ++part) {
    BlockPart<kT, kO, false>(x, w, n, part, first, ahead, saved);
  }
  const bool last = block.end == args.w.cols;
  if (whole == n && !last) return;
  F32x16 acc[kT * kO];
  for (int j = 0; j < kT * kO; ++j) acc[j] = Load(saved + 16 * j);
  if (whole < n) Step<kT, kO, Lanes::kPartial>(x, w, whole, n - whole, acc);
  if (last) return Finish<kT, kO>(acc, args, t0, block.o0);
  for (int j = 0; j < kT * kO; ++j) Store(acc[j], saved + 16 * j);
}

// BlockTile with all lanes at once.
template <int kT, int kO>
void BlockTileWhole(const LinearArgs& args, const Block& block, int64_t t0, Ahead ahead,
                    float* saved) {
  const int64_t n = block.end - block.begin;
  const float* x[kT];
  const float* w[kO];
  RowPointers<kT>(args.x.row(t0) + block.begin, args.x.row_stride, x);
  RowPointers<kO>(block.w, block.w_stride, w);
  F32x16 acc[kT * kO];
#pragma GCC unroll 32
  for (int j = 0; j < kT * kO; ++j) acc[j] = block.begin == 0 ? Zero() : Load(saved + 16 * j);
  int64_t i = 0;
  if (ahead.first != 0) {
    for (int half = 0; half < 2; ++half) {
      const int64_t end = half == 0 ? n / 32 * 16 : n;
      // 64 bytes per 16 elements: 4·i is the distance.
      const uintptr_t line =
          Opaque((half == 0 ? ahead.first : ahead.second) - 4 * static_cast<uintptr_t>(i));
      for (; i + 16 <= end; i += 16) {
        PrefetchToL2(reinterpret_cast<const void*>(line + 4 * static_cast<uintptr_t>(i)));
        Step<kT, kO, Lanes::kInOrder>(x, w, i, 16, acc);
      }
    }
  }
  for (; i + 16 <= n; i += 16) Step<kT, kO, Lanes::kInOrder>(x, w, i, 16, acc);
  if (i < n) Step<kT, kO, Lanes::kPartial>(x, w, i, n - i, acc);
  if (block.end == args.w.cols) {
    Finish<kT, kO>(acc, args, t0, block.o0);
    return;
  }
#pragma GCC unroll 32
  for (int j = 0; j < kT * kO; ++j) Store(acc[j], saved + 16 * j);
}

// The products of one block for one tile. `saved` holds its accumulators before (unless it is the
// first block) and after.
template <int kT, int kO>
void BlockTile(const LinearArgs& args, const Block& block, int64_t t0, Ahead ahead, float* saved) {
  if constexpr (kSimdParts > 1) {
    BlockTileInParts<kT, kO>(args, block, t0, ahead, saved);
  } else {
    BlockTileWhole<kT, kO>(args, block, t0, ahead, saved);
  }
}

// One block for tokens [t0, t1), in the largest tiles, but 2 + 2 rather than 3 + 1. The first tiles
// prefetch the next rows of w: a row of f32 each, or two of bf16.
template <int kO>
void BlockTokens(const LinearArgs& args, const Block& block, int64_t t0, int64_t t1, float* saved) {
  int64_t row = 0;
  for (int64_t t = t0; t < t1;) {
    Ahead ahead;
    if (row < kO) {
      const bool narrow = block.next_row_bytes < (block.end - block.begin) * 4;
      ahead.first = block.next + static_cast<uintptr_t>(row * block.next_stride);
      ahead.second = ahead.first +
                     static_cast<uintptr_t>(narrow ? block.next_stride : block.next_row_bytes / 2);
      row += narrow ? 2 : 1;
    }
    const int64_t left = t1 - t;
    const int64_t tokens =
        kBlockTileTokens == 3 && left == 4 ? 2 : std::min<int64_t>(kBlockTileTokens, left);
    float* at = saved + (t - t0) * kO * 16;
    if (tokens == 3) BlockTile<std::min(3, kBlockTileTokens), kO>(args, block, t, ahead, at);
    if (tokens == 2) BlockTile<std::min(2, kBlockTileTokens), kO>(args, block, t, ahead, at);
    if (tokens == 1) BlockTile<1, kO>(args, block, t, ahead, at);
    t += tokens;
  }
}

MNEME_SIMD_INLINE void Widen(const Bf16* from, int64_t n, float* to) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) Store(Load(from + i), to + i);
  if (i < n) Store(LoadPartial(from + i, n - i), to + i);
}

// Rows [o0, o0 + kO) of w for tokens [t0, t1), t1 - t0 <= kTokenBlock.
template <int kO, class W>
void BlockRows(const LinearArgs& args, Matrix<const W> w, int64_t t0, int64_t t1, int64_t o0) {
  alignas(64) float widened[std::is_same_v<W, float> ? 16 : kO * kScratchStride];
  alignas(64) float saved[kTokenBlock * kO * 16];
  const int64_t in = w.cols;
  // Blocks of equal size, in whole vectors; one block where in is 0.
  const int64_t blocks = std::max<int64_t>(1, (in + kContractionBlock - 1) / kContractionBlock);
  const int64_t size = std::max<int64_t>(16, ((in + blocks - 1) / blocks + 15) / 16 * 16);
  int64_t begin = 0;
  do {
    const int64_t end = std::min(begin + size, in);
    const int64_t bytes = static_cast<int64_t>(sizeof(W));
    Block block = {nullptr, 0, begin, end, o0, 0, w.row_stride * bytes, (end - begin) * bytes};
    block.next = reinterpret_cast<uintptr_t>(w.row(o0) + begin) +
                 static_cast<uintptr_t>(kO * block.next_stride);
    if constexpr (std::is_same_v<W, float>) {
      block.w = w.row(o0) + begin;
      block.w_stride = w.row_stride;
    } else {
      for (int o = 0; o < kO; ++o) {
        Widen(w.row(o0 + o) + begin, end - begin, widened + o * kScratchStride);
      }
      block.w = widened;
      block.w_stride = kScratchStride;
    }
    BlockTokens<kO>(args, block, t0, t1, saved);
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
