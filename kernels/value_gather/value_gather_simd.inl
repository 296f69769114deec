// Body of value_gather_cpu.cc, once per instruction set. Invariants:
//  1. Uses are sorted by (slot, token, selection); a run of equal slots is one row, read once and
//     given to each of its uses. Within a token uses come in ascending (slot, selection).
//  2. A use adds weight * value to each output element with one fused step; what lies between two
//     uses of a token (other tokens, other rows) changes nothing.
//  3. The pre-score is four accumulators of sixteen lanes (vector i of the pre-values goes to
//     accumulator i mod 4), added (0 + 1) + (2 + 3), then by ReduceAdd's tree.

#include "kernels/value_gather/pre_score_dot.inl"

// y[0, count) += weight * value[0, count).
template <class T>
MNEME_SIMD_INLINE void AddScaled(float weight, const T* value, int32_t count, float* y) {
  const F32x16 w = Splat(weight);
  int32_t d = 0;
  for (; d + 64 <= count; d += 64) {
#pragma GCC unroll 16
    for (int n = 0; n < 64; n += 16) {
      Store(MulAdd(w, Load(value + d + n), Load(y + d + n)), y + d + n);
    }
  }
  for (; d + 16 <= count; d += 16) Store(MulAdd(w, Load(value + d), Load(y + d)), y + d);
  if (d < count) {
    const int32_t lanes = count - d;
    StorePartial(MulAdd(w, LoadPartial(value + d, lanes), LoadPartial(y + d, lanes)), y + d, lanes);
  }
}

// The cores' slices that a call's columns meet.
struct Slices {
  int32_t width;       // of a core
  int32_t first_core;  // that of the first column
  int32_t first_end;   // where that one's ends, in the call's columns

  explicit Slices(const ValueGatherArgs& args)
      : width((args.table_width > 0 ? args.table_width : args.table.width) / args.cores),
        first_core(args.first_col / width),
        first_end(args.first_col == 0 ? width : (first_core + 1) * width - args.first_col) {}
};

// One row for one use.
template <class T>
MNEME_SIMD_INLINE void AddUse(const ValueGatherArgs& args, const Slices& slices, const T* row,
                              int64_t token, int64_t selection) {
  const ValueTable& table = args.table;
  float a = 1.0f;
  const bool given = args.pre_score.data != nullptr;
  if (given || table.pre_width > 0) {
    a = given ? args.pre_score.row(token)[selection]
              : PreScore(row + table.pre_offset, args.pre_query.row(token), table.pre_width);
    if (args.gelu_pre_score) {
      float lanes[16];
      Store(Gelu(Splat(a)), lanes);
      a = lanes[0];
    }
  }
  const int64_t group = args.expand_groups > 1 ? args.group.row(token)[selection] : 0;
  float* y = args.y.row(token) + group * table.width;
  const float* weight = args.weight.row(token) + selection * args.cores;
  const T* value = row + table.value_start();
  int32_t core = slices.first_core;
  for (int32_t begin = 0, end = slices.first_end; begin < table.width; ++core) {
    if (end > table.width) end = table.width;
    AddScaled(weight[core] * a, value + begin, end - begin, y + begin);
    begin = end;
    end += slices.width;
  }
}

// What of a row is read: two pieces, of which the second is empty where they lie side by side.
struct RowPieces {
  int64_t first;  // bytes from the row's start
  int64_t first_bytes;
  int64_t second;
  int64_t second_bytes;

  explicit RowPieces(const ValueTable& table) {
    const int64_t element = DTypeBytes(table.dtype);
    const bool one =
        table.pre_width == 0 || table.value_start() == int64_t{table.pre_offset} + table.pre_width;
    first = (table.pre_width == 0 ? table.value_start() : table.pre_offset) * element;
    first_bytes = one ? table.row_bytes() : table.pre_width * element;
    second = table.value_start() * element;
    second_bytes = one ? 0 : table.width * element;
  }
};

inline void PrefetchRow(const ValueTable& table, const RowPieces& pieces, int64_t slot) {
  const uint8_t* row = table.row(slot);
  for (int64_t i = 0; i < pieces.first_bytes; i += 64) Prefetch(row + pieces.first + i);
  for (int64_t i = 0; i < pieces.second_bytes; i += 64) Prefetch(row + pieces.second + i);
}

template <class T>
Traffic ValueGather(const ValueGatherArgs& args) {
  const int64_t tokens = args.slot.rows;
  const int64_t selections = args.slot.cols;
  const Slices slices(args);
  const RowPieces pieces(args.table);
  for (int64_t t = 0; t < tokens; ++t) {
    std::memset(args.y.row(t), 0, sizeof(float) * args.table.width * args.expand_groups);
  }
  const std::span<const uint64_t> sorted = SortUses(args.slot, args.share, args.scratch);
  const auto uses = static_cast<int64_t>(sorted.size());
  for (int64_t i = 0; i < uses && i < kRowsAhead; ++i)
    PrefetchRow(args.table, pieces, UseRow(sorted[i]));
  // Before the vectors: see kernels/simd/simd.h.
  const int64_t distinct = ShareRows(sorted, args.slot, args.table.row_bytes(), args.token_bytes);
  for (int64_t begin = 0, end = 0; begin < uses; begin = end) {
    const uint64_t slot = UseRow(sorted[begin]);
    const T* row = reinterpret_cast<const T*>(args.table.row(static_cast<int64_t>(slot)));
    for (end = begin; end < uses && UseRow(sorted[end]) == slot; ++end) {
      if (end + kRowsAhead < uses)
        PrefetchRow(args.table, pieces, UseRow(sorted[end + kRowsAhead]));
      const uint32_t use = UseNumber(sorted[end]);
      const int64_t token = tokens == 1 ? 0 : use / static_cast<uint32_t>(selections);
      AddUse(args, slices, row, token, use - token * selections);
    }
  }
  return ValueGatherTraffic(args, uses, distinct);
}
