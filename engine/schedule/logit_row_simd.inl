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

void BlockExpSums(const float* x, int64_t n, float max, float scale, float* sums) {
  const F32x16 m = Splat(max);
  const F32x16 s = Splat(scale);
  for (int64_t first = 0; first < n; first += kRowBlock) {
    const int64_t end = first + kRowBlock < n ? first + kRowBlock : n;
    F32x16 sum = Zero();
    int64_t i = first;
    for (; i + 16 <= end; i += 16) sum = Add(sum, Exp(Mul(Sub(Load(x + i), m), s)));
    if (i < end) {
      const F32x16 e = Exp(Mul(Sub(LoadPartial(x + i, end - i), m), s));
      sum = Add(sum, Choose(FirstLanes(end - i), e, Zero()));
    }
    *sums++ = ReduceAdd(sum);
  }
}

void Exponentials(const float* x, int64_t n, float max, float scale, float* y) {
  const F32x16 m = Splat(max);
  const F32x16 s = Splat(scale);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) Store(Exp(Mul(Sub(Load(x + i), m), s)), y + i);
  if (i < n) {
    StorePartial(Exp(Mul(Sub(LoadPartial(x + i, n - i), m), s)), y + i, n - i);
  }
}

int64_t AtLeast(const float* x, int64_t n, float floor, int32_t* ids) {
  const F32x16 f = Splat(floor);
  int64_t count = 0;
  for (int64_t i = 0; i < n; i += 16) {
    const int64_t lanes = n - i < 16 ? n - i : 16;
    uint32_t bits = lanes == 16
                        ? Bits(GreaterEqual(Load(x + i), f))
                        : Bits(GreaterEqual(LoadPartial(x + i, lanes), f)) & ((1u << lanes) - 1u);
    for (; bits != 0; bits &= bits - 1) {
      ids[count++] = static_cast<int32_t>(i + __builtin_ctz(bits));
    }
  }
  return count;
}

constexpr ::mneme::schedule::LogitRowKernels kLogitRow = {&BlockMaxima, &AllFinite, &BlockExpSums,
                                                          &Exponentials, &AtLeast};
