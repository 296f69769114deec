#include "kernels/simd/sum_of_squares.inl"

MNEME_SIMD_INLINE F32x16 Scaled(F32x16 x, F32x16 inverse_rms, const float* weight,
                                const float* bias, int64_t i, int64_t n) {
  F32x16 y = Mul(x, inverse_rms);
  if (weight != nullptr) y = Mul(y, n == 16 ? Load(weight + i) : LoadPartial(weight + i, n));
  if (bias != nullptr) y = Add(y, n == 16 ? Load(bias + i) : LoadPartial(bias + i, n));
  return y;
}

Traffic RmsNorm(const RmsNormArgs& args) {
  const bool given = !args.squares.empty();
  const int64_t width = given ? args.x.cols : args.width;
  for (int64_t r = 0; r < args.x.rows; ++r) {
    for (int64_t c = 0; c < args.x.cols; c += width) {
      const float* x = args.x.row(r) + c;
      float* y = args.y.row(r) + c;
      const float squares = given ? *args.squares.row(r) : SumOfSquares(x, width);
      const float mean = squares / static_cast<float>(args.width);
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
