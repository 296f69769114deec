// The passes of logit_row.h on the vector layer.

constexpr int64_t kRowBlock = ::mneme::schedule::kRowBlock;
constexpr float kMinusInfinity = -__builtin_inff();

float BlockMaxima(const float* x, int64_t n, float* maxima) {
  float max = kMinusInfinity;
  for (int64_t first = 0; first < n; first += kRowBlock) {
    const int64_t end = first + kRowBlock < n ? first + kRowBlock : n;
    F32x16 block = Splat(kMinusInfinity);
    int64_t i = first;
    // Max gives its second operand where either is NaN.
    for (; i + 16 <= end; i += 16) block = Max(Load(x + i), block);
    if (i < end) {
      const F32x16 tail =
          Choose(FirstLanes(end - i), LoadPartial(x + i, end - i), Splat(kMinusInfinity));
      block = Max(tail, block);
    }
    const float block_max = ReduceMax(block);
    *maxima++ = block_max;
    if (block_max > max) max = block_max;
  }
  return max;
}

bool AllFinite(const float* x, int64_t n) {
  // A finite number times zero is zero; NaN and infinities give NaN, which stays in the sum.
  F32x16 sum = Zero();
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) sum = MulAdd(Load(x + i), Zero(), sum);
  if (i < n) sum = MulAdd(LoadPartial(x + i, n - i), Zero(), sum);
  return ReduceAdd(sum) == 0.0f;
}

// kStore: y is wanted.
template <bool kStore>
void ExponentialsOf(const float* x, int64_t n, float max, float scale, float* y, float* sums) {
  const F32x16 m = Splat(max);
  const F32x16 s = Splat(scale);
  for (int64_t first = 0; first < n; first += kRowBlock) {
    const int64_t end = first + kRowBlock < n ? first + kRowBlock : n;
    F32x16 sum = Zero();
    int64_t i = first;
    for (; i + 16 <= end; i += 16) {
      const F32x16 e = Exp(Mul(Sub(Load(x + i), m), s));
      if constexpr (kStore) Store(e, y + i);
      sum = Add(sum, e);
    }
    if (i < end) {
      const F32x16 e = Exp(Mul(Sub(LoadPartial(x + i, end - i), m), s));
      if constexpr (kStore) StorePartial(e, y + i, end - i);
      sum = Add(sum, Choose(FirstLanes(end - i), e, Zero()));
    }
    *sums++ = ReduceAdd(sum);
  }
}

void Exponentials(const float* x, int64_t n, float max, float scale, float* y, float* sums) {
  if (y == nullptr) {
    ExponentialsOf<false>(x, n, max, scale, y, sums);
  } else {
    ExponentialsOf<true>(x, n, max, scale, y, sums);
  }
}

// Lanes below the floor become zero.
MNEME_SIMD_INLINE F32x16 AtLeast(F32x16 x, F32x16 floor) {
  return Choose(GreaterEqual(x, floor), x, Zero());
}

void BlockSums(const float* x, int64_t n, float floor, float* sums) {
  const F32x16 f = Splat(floor);
  for (int64_t first = 0; first < n; first += kRowBlock) {
    const int64_t end = first + kRowBlock < n ? first + kRowBlock : n;
    F32x16 sum = Zero();
    int64_t i = first;
    for (; i + 16 <= end; i += 16) sum = Add(sum, AtLeast(Load(x + i), f));
    // Lanes that are not loaded are zero and add nothing, whatever the floor.
    if (i < end) sum = Add(sum, AtLeast(LoadPartial(x + i, end - i), f));
    *sums++ = ReduceAdd(sum);
  }
}

::mneme::schedule::MassAndCount MassAtLeast(const float* x, int64_t n, float floor) {
  // So many elements are summed in float32 before they join a double: 64 additions a lane.
  constexpr int64_t kChunk = 1024;
  const F32x16 f = Splat(floor);
  ::mneme::schedule::MassAndCount result;
  for (int64_t first = 0; first < n; first += kChunk) {
    const int64_t end = first + kChunk < n ? first + kChunk : n;
    F32x16 sum = Zero();
    F32x16 count = Zero();
    int64_t i = first;
    for (; i + 16 <= end; i += 16) {
      const F32x16 v = Load(x + i);
      const Mask16 mask = GreaterEqual(v, f);
      sum = Add(sum, Choose(mask, v, Zero()));
      count = Add(count, Choose(mask, Splat(1.0f), Zero()));
    }
    if (i < end) {
      // Lanes that are not loaded are zero: they add nothing to the sum, and are not counted.
      const F32x16 v = LoadPartial(x + i, end - i);
      const Mask16 mask = GreaterEqual(v, f);
      sum = Add(sum, Choose(mask, v, Zero()));
      count = Add(count, Choose(mask, Choose(FirstLanes(end - i), Splat(1.0f), Zero()), Zero()));
    }
    result.mass += ReduceAdd(sum);
    result.count += static_cast<int64_t>(ReduceAdd(count));
  }
  return result;
}

int64_t InRange(const float* x, int64_t n, float floor, float ceiling, int32_t* ids) {
  const F32x16 f = Splat(floor);
  const F32x16 c = Splat(ceiling);
  const uint32_t open = ceiling == -kMinusInfinity ? 0xffffu : 0u;
  int64_t count = 0;
  for (int64_t i = 0; i < n; i += 16) {
    const int64_t lanes = n - i < 16 ? n - i : 16;
    const F32x16 v = lanes == 16 ? Load(x + i) : LoadPartial(x + i, lanes);
    const uint32_t loaded = lanes == 16 ? 0xffffu : (1u << lanes) - 1u;
    uint32_t bits = Bits(GreaterEqual(v, f)) & (Bits(Less(v, c)) | open) & loaded;
    for (; bits != 0; bits &= bits - 1) {
      ids[count++] = static_cast<int32_t>(i + __builtin_ctz(bits));
    }
  }
  return count;
}

constexpr ::mneme::schedule::LogitRowKernels kLogitRow = {&BlockMaxima, &AllFinite,   &Exponentials,
                                                          &BlockSums,   &MassAtLeast, &InRange};
