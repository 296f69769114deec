// Body of router_cpu.cc, once per instruction set. Invariants:
// 1. values[] holds a token's logits with NaN as −inf, and −inf up to a whole vector: what is
//    behind the last expert is never chosen and adds nothing to a sum.
// 2. Sums of exponentials are sixteen, by place mod 16, then ReduceAdd: of all experts by id, of
//    the chosen ones by their place in ascending order.
#include "kernels/simd/top_k.inl"

// The first `count` of `from` and −inf behind them, up to a whole vector; NaN as −inf.
MNEME_SIMD_INLINE void CopyLogits(const float* from, int32_t count, float* to) {
  const F32x16 lowest = Splat(kLowest);
  int32_t i = 0;
  // Max gives its second operand where either is NaN.
  for (; i + 16 <= count; i += 16) Store(Max(Load(from + i), lowest), to + i);
  if (i == count) return;
  Store(lowest, to + i);
  StorePartial(Max(LoadPartial(from + i, count - i), lowest), to + i, count - i);
}

MNEME_SIMD_INLINE float SumOfExp(const float* values, int32_t count, F32x16 greatest) {
  F32x16 sum = Zero();
  for (int32_t i = 0; i < count; i += 16) sum = Add(sum, Exp(Sub(Load(values + i), greatest)));
  return ReduceAdd(sum);
}

inline void Route(const RouterArgs& args, int64_t t) {
  alignas(64) float values[kRouterMostExperts];
  alignas(64) float chosen[kRouterMostExperts];
  int32_t places[kRouterMostExperts + 1];
  const auto experts = static_cast<int32_t>(args.logits.cols);
  const auto top_k = static_cast<int32_t>(args.expert.cols);
  CopyLogits(args.logits.row(t), experts, values);
  if (!TopK(values, experts, top_k, kLowest, places)) {
    TopKByPasses(values, experts, top_k, places);
  }
  const float greatest = values[places[0]];
  SortAscending(places, top_k);
  int32_t* expert = args.expert.row(t);
  for (int32_t j = 0; j < top_k; ++j) {
    expert[j] = places[j];
    chosen[j] = values[places[j]];
  }
  for (int32_t j = top_k; j % 16 != 0; ++j) chosen[j] = kLowest;
  const F32x16 subtract = Splat(greatest);
  const F32x16 sum = Splat(args.renormalise ? SumOfExp(chosen, top_k, subtract)
                                            : SumOfExp(values, experts, subtract));
  float* weight = args.weight.row(t);
  for (int32_t j = 0; j < top_k; j += 16) {
    const F32x16 share = Div(Exp(Sub(Load(chosen + j), subtract)), sum);
    StorePartial(share, weight + j, std::min(16, top_k - j));
  }
}

inline Traffic Router(const RouterArgs& args) {
  for (int64_t t = 0; t < args.logits.rows; ++t) Route(args, t);
  return RouterTraffic(args);
}
