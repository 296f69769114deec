Traffic RankSum(const RankSumArgs& args) {
  const int64_t cols = args.y.cols;
  for (int64_t r = 0; r < args.y.rows; ++r) {
    const int64_t row = r * args.addend_stride;
    float* y = args.y.row(r);
    for (int64_t i = 0; i < cols; i += 16) {
      const int64_t n = cols - i < 16 ? cols - i : 16;
      F32x16 sum = LoadPartial(args.addends[0] + row + i, n);
      for (size_t a = 1; a < args.addends.size(); ++a) {
        sum = Add(sum, LoadPartial(args.addends[a] + row + i, n));
      }
      StorePartial(sum, y + i, n);
    }
  }
  return RankSumTraffic(args);
}
