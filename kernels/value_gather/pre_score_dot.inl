// A part of the SIMD bodies of the operators that read pre-values, which include it.

// The dot of a row's pre-values with a token's pre-query.
template <class T>
MNEME_SIMD_INLINE float PreScore(const T* pre, const float* query, int32_t width) {
  F32x16 sum[4] = {Zero(), Zero(), Zero(), Zero()};
  int32_t i = 0;
  for (; i + 64 <= width; i += 64) {
#pragma GCC unroll 16
    for (int n = 0; n < 4; ++n) {
      sum[n] = MulAdd(Load(pre + i + 16 * n), Load(query + i + 16 * n), sum[n]);
    }
  }
#pragma GCC unroll 16
  for (int n = 0; n < 4 && i < width; ++n, i += 16) {
    const int32_t lanes = width - i < 16 ? width - i : 16;
    sum[n] = MulAdd(LoadPartial(pre + i, lanes), LoadPartial(query + i, lanes), sum[n]);
  }
  return ReduceAdd(Add(Add(sum[0], sum[1]), Add(sum[2], sum[3])));
}
