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
