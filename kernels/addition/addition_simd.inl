Traffic Addition(const AdditionArgs& args) {
  const int64_t cols = args.y.cols;
  for (int64_t r = 0; r < args.y.rows; ++r) {
    const float* a = args.a.row(r);
    const float* b = args.b.row(r);
    float* y = args.y.row(r);
    int64_t i = 0;
    for (; i + 16 <= cols; i += 16) Store(Add(Load(a + i), Load(b + i)), y + i);
    if (i < cols) {
      const int64_t n = cols - i;
      StorePartial(Add(LoadPartial(a + i, n), LoadPartial(b + i, n)), y + i, n);
    }
  }
  return AdditionTraffic(args);
}
