// Rows are far apart: the next token's row is prefetched while this one is copied.
template <class W>
Traffic Embedding(const EmbeddingArgs& args) {
  const Matrix<const W> table = args.table.As<W>();
  const int64_t dim = args.y.cols;
  for (int64_t t = 0; t < args.y.rows; ++t) {
    if (t + 1 < args.y.rows && args.has(args.ids[static_cast<size_t>(t + 1)])) {
      const W* next = table.row(args.ids[static_cast<size_t>(t + 1)] - args.first_row);
      for (int64_t i = 0; i < dim; i += 64 / static_cast<int64_t>(sizeof(W))) Prefetch(next + i);
    }
    const int32_t id = args.ids[static_cast<size_t>(t)];
    float* y = args.y.row(t);
    if (!args.has(id)) {
      std::memset(y, 0, sizeof(float) * static_cast<size_t>(dim));
      continue;
    }
    const W* row = table.row(id - args.first_row);
    int64_t i = 0;
    for (; i + 16 <= dim; i += 16) Store(Load(row + i), y + i);
    if (i < dim) StorePartial(LoadPartial(row + i, dim - i), y + i, dim - i);
  }
  return EmbeddingTraffic(args);
}
