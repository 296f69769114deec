template <ActivationKind kKind>
MNEME_SIMD_INLINE F32x16 Activate(F32x16 a, F32x16 g) {
  if constexpr (kKind == ActivationKind::kSwiglu) return Mul(a, Silu(g));
  if constexpr (kKind == ActivationKind::kGelu) return Gelu(a);
  // In this order a NaN is kept.
  return Max(Zero(), a);
}

template <ActivationKind kKind>
Traffic Activation(const ActivationArgs& args) {
  constexpr bool kGated = kKind == ActivationKind::kSwiglu;
  const int64_t cols = args.a.cols;
  for (int64_t r = 0; r < args.a.rows; ++r) {
    const float* a = args.a.row(r);
    const float* g = kGated ? args.g.row(r) : a;
    float* y = args.y.row(r);
    int64_t i = 0;
    for (; i + 16 <= cols; i += 16) Store(Activate<kKind>(Load(a + i), Load(g + i)), y + i);
    if (i < cols) {
      const int64_t n = cols - i;
      StorePartial(Activate<kKind>(LoadPartial(a + i, n), LoadPartial(g + i, n)), y + i, n);
    }
  }
  return ActivationTraffic(args);
}
