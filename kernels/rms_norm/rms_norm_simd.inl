// Σ x², the vectors in turn to two accumulators, so that two multiply-adds are under way.
MNEME_SIMD_INLINE float SumOfSquares(const float* x, int64_t n) {
  F32x16 even = Zero();
  F32x16 odd = Zero();
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    const F32x16 a = Load(x + i);
    const F32x16 b = Load(x + i + 16);
    even = MulAdd(a, a, even);
    odd = MulAdd(b, b, odd);
  }
  if (i + 16 <= n) {
    const F32x16 a = Load(x + i);
    even = MulAdd(a, a, even);
    i += 16;
  }
  if (i < n) {
    const F32x16 a = LoadPartial(x + i, n - i);
    odd = MulAdd(a, a, odd);
  }
  return ReduceAdd(Add(even, odd));
}

MNEME_SIMD_INLINE F32x16 Scaled(F32x16 x, F32x16 inverse_rms, const float* weight,
                                const float* bias, int64_t i, int64_t n) {
  F32x16 y = Mul(x, inverse_rms);
  if (weight != nullptr) y = Mul(y, n == 16 ? Load(weight + i) : LoadPartial(weight + i, n));
  if (bias != nullptr) y = Add(y, n == 16 ? Load(bias + i) : LoadPartial(bias + i, n));
  return y;
}

Traffic RmsNorm(const RmsNormArgs& args) {
  const int64_t width = args.width;
  for (int64_t r = 0; r < args.x.rows; ++r) {
    for (int64_t c = 0; c < args.x.cols; c += width) {
      const float* x = args.x.row(r) + c;
      float* y = args.y.row(r) + c;
      const float mean = SumOfSquares(x, width) / static_cast<float>(width);
      const F32x16 inverse_rms = Splat(1.0f / __builtin_sqrtf(mean + args.eps));
      int64_t i = 0;
      for (; i + 16 <= width; i += 16) {
        Store(Scaled(Load(x + i), inverse_rms, args.weight, args.bias, i, 16), y + i);
      }
      if (i < width) {
        const int64_t n = width - i;
        const F32x16 last = LoadPartial(x + i, n);
        StorePartial(Scaled(last, inverse_rms, args.weight, args.bias, i, n), y + i, n);
      }
    }
  }
  return RmsNormTraffic(args);
}
