MNEME_SIMD_INLINE float Mean(const float* x, int64_t n) {
  F32x16 sum = Zero();
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) sum = Add(sum, Load(x + i));
  if (i < n) sum = Add(sum, LoadPartial(x + i, n - i));
  return ReduceAdd(sum) / static_cast<float>(n);
}

// Two passes: a sum of squares minus a squared sum would cancel where the mean is large.
MNEME_SIMD_INLINE float Variance(const float* x, F32x16 mean, int64_t n) {
  F32x16 sum = Zero();
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const F32x16 d = Sub(Load(x + i), mean);
    sum = MulAdd(d, d, sum);
  }
  if (i < n) {
    // The lanes beyond n hold −mean and must not count.
    const F32x16 d = Choose(FirstLanes(n - i), Sub(LoadPartial(x + i, n - i), mean), Zero());
    sum = MulAdd(d, d, sum);
  }
  return ReduceAdd(sum) / static_cast<float>(n);
}

Traffic LayerNorm(const LayerNormArgs& args) {
  const int64_t width = args.width;
  for (int64_t r = 0; r < args.x.rows; ++r) {
    for (int64_t c = 0; c < args.x.cols; c += width) {
      const float* x = args.x.row(r) + c;
      float* y = args.y.row(r) + c;
      const F32x16 mean = Splat(Mean(x, width));
      const F32x16 inverse = Splat(1.0f / __builtin_sqrtf(Variance(x, mean, width) + args.eps));
      for (int64_t i = 0; i < width; i += 16) {
        const int64_t n = width - i < 16 ? width - i : 16;
        F32x16 value = Mul(Sub(LoadPartial(x + i, n), mean), inverse);
        if (args.weight != nullptr) value = Mul(value, LoadPartial(args.weight + i, n));
        if (args.bias != nullptr) value = Add(value, LoadPartial(args.bias + i, n));
        StorePartial(value, y + i, n);
      }
    }
  }
  return LayerNormTraffic(args);
}
