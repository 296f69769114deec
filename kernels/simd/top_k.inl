// The k greatest of some values by counting instead of insertion, which mispredicts a branch for
// nearly every value that it moves: a part of the bodies that include it (see simd.h).
//
// Of the lanes' maxima at least k distinct values are known; the least of them is a bound below
// which nothing is among the k greatest. What survives it is ranked by comparing all with all.

constexpr int32_t kTopKMost = 64;
constexpr int32_t kTopKSurvivors = 256;

// The least of k values or more: of the greatest in each lane and, of vectors that take turns, in
// each turn. REQUIRES: n >= 16 * turns.
MNEME_SIMD_INLINE float TopKBound(const float* values, int32_t n, int32_t turns) {
  float bound = __builtin_inff();
  for (int32_t turn = 0; turn < turns; ++turn) {
    F32x16 greatest = Splat(-__builtin_inff());
    for (int32_t i = 16 * turn; i + 16 <= n; i += 16 * turns) {
      greatest = Max(Load(values + i), greatest);
    }
    bound = std::min(bound, -ReduceMax(Sub(Zero(), greatest)));
  }
  return bound;
}

// How many of values[0, 16 * vectors) come before the i-th: the greater ones, and the equal ones of
// lower place.
MNEME_SIMD_INLINE int32_t RankOf(const float* values, int32_t vectors, int32_t i) {
  const F32x16 own = Splat(values[i]);
  const int32_t home = i / 16;
  int32_t rank = 0;
  for (int32_t v = 0; v < home; ++v) {
    rank += __builtin_popcount(Bits(GreaterEqual(Load(values + 16 * v), own)));
  }
  const uint32_t before = (uint32_t{1} << (i % 16)) - 1;
  const F32x16 beside = Load(values + 16 * home);
  rank += __builtin_popcount((Bits(GreaterEqual(beside, own)) & before) | Bits(Less(own, beside)));
  for (int32_t v = home + 1; v < vectors; ++v) {
    rank += __builtin_popcount(Bits(Less(own, Load(values + 16 * v))));
  }
  return rank;
}

// places[0, k) = the places of the k greatest of values[0, n), descending, equal ones by ascending
// place; places[k] is written, too. `least`: k values or more are at least this, or -inf. False
// where another way must be taken (places are then undefined): too many values lie near the top, or
// too few, some being NaN.
// values: readable up to a multiple of 16, whatever lies there.
inline bool TopK(const float* values, int32_t n, int32_t k, float least, int32_t* places) {
  if constexpr (kSimdRegisters < 8) return false;  // Comparing lane by lane does not pay.
  if (k > kTopKMost) return false;
  const int32_t turns = (k + 15) / 16;
  if (n >= 16 * turns) least = std::max(least, TopKBound(values, n, turns));
  if (!(least > -__builtin_inff())) return false;
  float survivors[kTopKSurvivors];
  int32_t from[kTopKSurvivors];
  int32_t count = 0;
  const F32x16 bound = Splat(least);
  for (int32_t i = 0; i < n; i += 16) {
    uint32_t bits = Bits(GreaterEqual(Load(values + i), bound));
    if (n - i < 16) bits &= (1u << (n - i)) - 1;
    if (count + 16 > kTopKSurvivors && bits != 0) return false;
    for (; bits != 0; bits &= bits - 1, ++count) {
      from[count] = i + __builtin_ctz(bits);
      survivors[count] = values[from[count]];
    }
  }
  if (count < k) return false;
  const int32_t vectors = (count + 15) / 16;
  for (int32_t i = count; i < 16 * vectors; ++i) survivors[i] = -__builtin_inff();
  for (int32_t i = 0; i < count; ++i) {
    places[std::min(RankOf(survivors, vectors, i), k)] = from[i];
  }
  return true;
}
