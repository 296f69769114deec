// Body of value_gather_cpu.cc, once per instruction set. Invariants:
//  1. Uses are sorted by (slot, token, selection); a run of equal slots is one row, read once and
//     given to each of its uses. Within a token uses come in ascending (slot, selection).
//  2. A use adds weight * value to each output element with one fused step; what lies between two
//     uses of a token (other tokens, other rows) changes nothing.
//  3. The pre-score is four accumulators of sixteen lanes (vector i of the pre-values goes to
//     accumulator i mod 4), added (0 + 1) + (2 + 3), then by ReduceAdd's tree.

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

// One row for one use.
template <class T>
MNEME_SIMD_INLINE void AddUse(const ValueGatherArgs& args, const T* row, int64_t token,
                              int64_t selection) {
  const ValueTable& table = args.table;
  float a = 1.0f;
  if (table.pre_width > 0) {
    a = PreScore(row, args.pre_query.row(token), table.pre_width);
    if (args.gelu_pre_score) {
      float lanes[16];
      Store(Gelu(Splat(a)), lanes);
      a = lanes[0];
    }
  }
  const int64_t group = args.expand_groups > 1 ? args.group.row(token)[selection] : 0;
  float* y = args.y.row(token) + group * table.width;
  const float* weight = args.weight.row(token) + selection * args.cores;
  const T* value = row + table.pre_width;
  const int32_t slice = table.width / args.cores;
  for (int32_t c = 0; c < args.cores; ++c) {
    AddScaled(weight[c] * a, value + c * slice, slice, y + c * slice);
  }
}

inline void PrefetchRow(const ValueTable& table, int64_t slot) {
  const uint8_t* row = table.row(slot);
  const int64_t bytes = table.row_bytes();
  for (int64_t i = 0; i < bytes; i += 64) Prefetch(row + i);
}

template <class T>
Traffic ValueGather(const ValueGatherArgs& args) {
  const int64_t tokens = args.slot.rows;
  const int64_t selections = args.slot.cols;
  const int64_t uses = tokens * selections;
  for (int64_t t = 0; t < tokens; ++t) {
    std::memset(args.y.row(t), 0, sizeof(float) * args.table.width * args.expand_groups);
  }
  const uint64_t* sorted = SortUses(args);
  for (int64_t i = 0; i < uses && i < kRowsAhead; ++i) PrefetchRow(args.table, UseSlot(sorted[i]));
  // Before the vectors: see kernels/simd/simd.h.
  const int64_t distinct = ShareRows(args, sorted, uses);
  for (int64_t begin = 0, end = 0; begin < uses; begin = end) {
    const uint64_t slot = UseSlot(sorted[begin]);
    const T* row = reinterpret_cast<const T*>(args.table.row(static_cast<int64_t>(slot)));
    for (end = begin; end < uses && UseSlot(sorted[end]) == slot; ++end) {
      if (end + kRowsAhead < uses) PrefetchRow(args.table, UseSlot(sorted[end + kRowsAhead]));
      const uint32_t use = UseNumber(sorted[end]);
      const int64_t token = tokens == 1 ? 0 : use / static_cast<uint32_t>(selections);
      AddUse(args, row, token, use - token * selections);
    }
  }
  return ValueGatherTraffic(args, distinct);
}
