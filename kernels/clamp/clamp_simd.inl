Traffic Clamp(const ClampArgs& args) {
  const F32x16 low = Splat(-args.limit);
  const F32x16 high = Splat(args.limit);
  const int64_t cols = args.x.cols;
  for (int64_t r = 0; r < args.x.rows; ++r) {
    float* x = args.x.row(r);
    int64_t i = 0;
    // x is the second operand, which Min and Max keep where it is NaN.
    for (; i + 16 <= cols; i += 16) Store(Min(high, Max(low, Load(x + i))), x + i);
    if (i < cols) {
      const int64_t n = cols - i;
      StorePartial(Min(high, Max(low, LoadPartial(x + i, n))), x + i, n);
    }
  }
  return ClampTraffic(args);
}
