MNEME_SIMD_INLINE void Rotate(F32x16 c, F32x16 s, F32x16& lower, F32x16& upper) {
  const F32x16 a = lower;
  const F32x16 b = upper;
  lower = NegMulAdd(b, s, Mul(a, c));
  upper = MulAdd(a, s, Mul(b, c));
}

// Sixteen angles at a time, for all heads: cosine and sine are loaded once.
Traffic Rope(const RopeArgs& args) {
  const int64_t half = args.head_dim / 2;
  for (int64_t t = 0; t < args.x.rows; ++t) {
    const int32_t position = args.positions[static_cast<size_t>(t)];
    float* row = args.x.row(t);
    for (int64_t i = 0; i < half; i += 16) {
      const int64_t n = half - i < 16 ? half - i : 16;
      const F32x16 c = LoadPartial(args.cos.row(position) + i, n);
      const F32x16 s = LoadPartial(args.sin.row(position) + i, n);
      for (int64_t h = 0; h < args.x.cols; h += args.head_dim) {
        float* x = row + h + i;
        if (n == 16) {
          F32x16 lower = Load(x);
          F32x16 upper = Load(x + half);
          Rotate(c, s, lower, upper);
          Store(lower, x);
          Store(upper, x + half);
        } else {
          F32x16 lower = LoadPartial(x, n);
          F32x16 upper = LoadPartial(x + half, n);
          Rotate(c, s, lower, upper);
          StorePartial(lower, x, n);
          StorePartial(upper, x + half, n);
        }
      }
    }
  }
  return RopeTraffic(args);
}
