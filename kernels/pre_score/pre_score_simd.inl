// Body of pre_score_cpu.cc, once per instruction set. Uses are sorted by (slot, token, selection):
// a run of equal slots is one row, read once and scored for each of its uses.

#include "kernels/value_gather/pre_score_dot.inl"

inline void PrefetchPreValues(const ValueTable& table, int64_t row) {
  const int64_t element = DTypeBytes(table.dtype);
  const uint8_t* pre = table.row(row) + table.pre_offset * element;
  for (int64_t i = 0; i < table.pre_width * element; i += 64) Prefetch(pre + i);
}

template <class T>
Traffic PreScores(const PreScoreArgs& args) {
  const int64_t selections = args.slot.cols;
  const int64_t bytes = args.table.pre_width * DTypeBytes(args.table.dtype);
  const std::span<const uint64_t> sorted = SortUses(args.slot, RowShare(), args.scratch);
  const auto uses = static_cast<int64_t>(sorted.size());
  for (int64_t i = 0; i < uses && i < kRowsAhead; ++i) {
    PrefetchPreValues(args.table, UseRow(sorted[i]));
  }
  // Before the vectors: see kernels/simd/simd.h.
  const int64_t distinct = ShareRows(sorted, args.slot, bytes, args.token_bytes);
  for (int64_t i = 0; i < uses; ++i) {
    if (i + kRowsAhead < uses) PrefetchPreValues(args.table, UseRow(sorted[i + kRowsAhead]));
    const T* row = reinterpret_cast<const T*>(args.table.row(UseRow(sorted[i])));
    const uint32_t use = UseNumber(sorted[i]);
    const int64_t token = use / static_cast<uint32_t>(selections);
    args.y.row(token)[use - token * selections] =
        PreScore(row + args.table.pre_offset, args.pre_query.row(token), args.table.pre_width);
  }
  return PreScoreTraffic(args, distinct);
}
