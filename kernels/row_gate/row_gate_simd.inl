inline Traffic RowGate(const RowGateArgs& args) {
  const int64_t cols = args.x.cols;
  for (int64_t t = 0; t < args.x.rows; ++t) {
    const F32x16 sigmoid = Sigmoid(Splat(args.gate.row(t)[0]));
    const float* x = args.x.row(t);
    float* y = args.y.row(t);
    int64_t i = 0;
    for (; i + 16 <= cols; i += 16) Store(Mul(Load(x + i), sigmoid), y + i);
    if (i < cols) StorePartial(Mul(LoadPartial(x + i, cols - i), sigmoid), y + i, cols - i);
  }
  return RowGateTraffic(args);
}
