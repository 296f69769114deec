// Loads of keys by rank: a part of product_key_candidates_simd.inl, which includes it.

// 32 consecutive elements, the even ones to one vector and the odd ones to the other.
template <class V = F32x16>
MNEME_SIMD_INLINE void LoadPairs(const Bf16* p, V& even, V& odd) {
  // Rank 0 is the lower half of a 32-bit word, rank 1 the upper: widening is one operation each.
  if constexpr (requires(V v) { v.v; }) {
    const __m512i words = _mm512_loadu_si512(p);
    even.v = _mm512_castsi512_ps(_mm512_slli_epi32(words, 16));
    odd.v = _mm512_castsi512_ps(
        _mm512_and_si512(words, _mm512_set1_epi32(static_cast<int32_t>(0xffff0000u))));
  } else if constexpr (requires(V v) { v.lo; }) {
    const __m256i high = _mm256_set1_epi32(static_cast<int32_t>(0xffff0000u));
    const __m256i lo = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    const __m256i hi = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 16));
    even.lo = _mm256_castsi256_ps(_mm256_slli_epi32(lo, 16));
    even.hi = _mm256_castsi256_ps(_mm256_slli_epi32(hi, 16));
    odd.lo = _mm256_castsi256_ps(_mm256_and_si256(lo, high));
    odd.hi = _mm256_castsi256_ps(_mm256_and_si256(hi, high));
  } else {
    float e[16];
    float o[16];
    for (int i = 0; i < 16; ++i) {
      e[i] = ToFloat(p[2 * i]);
      o[i] = ToFloat(p[2 * i + 1]);
    }
    even = Load(e);
    odd = Load(o);
  }
}

// Four pairs of lanes from the order 0 2 1 3, in which AVX2's shuffles leave them, to 0 1 2 3.
template <class Half>
MNEME_SIMD_INLINE Half QuadsInOrder(Half x) {
  return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(x), 0xd8));
}

template <class V = F32x16>
MNEME_SIMD_INLINE void LoadPairs(const float* p, V& even, V& odd) {
  if constexpr (requires(V v) { v.v; }) {
    const __m512i e = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512 a = _mm512_loadu_ps(p);
    const __m512 b = _mm512_loadu_ps(p + 16);
    even.v = _mm512_permutex2var_ps(a, e, b);
    odd.v = _mm512_permutex2var_ps(a, _mm512_add_epi32(e, _mm512_set1_epi32(1)), b);
  } else if constexpr (requires(V v) { v.lo; }) {
    const __m256 a = _mm256_loadu_ps(p);
    const __m256 b = _mm256_loadu_ps(p + 8);
    const __m256 c = _mm256_loadu_ps(p + 16);
    const __m256 d = _mm256_loadu_ps(p + 24);
    even.lo = QuadsInOrder(_mm256_shuffle_ps(a, b, 0x88));
    even.hi = QuadsInOrder(_mm256_shuffle_ps(c, d, 0x88));
    odd.lo = QuadsInOrder(_mm256_shuffle_ps(a, b, 0xdd));
    odd.hi = QuadsInOrder(_mm256_shuffle_ps(c, d, 0xdd));
  } else {
    float e[16];
    float o[16];
    for (int i = 0; i < 16; ++i) {
      e[i] = p[2 * i];
      o[i] = p[2 * i + 1];
    }
    even = Load(e);
    odd = Load(o);
  }
}

// Sixteen dimensions of a key, by rank; partial: only the first n exist.
template <int kRank, class Key>
MNEME_SIMD_INLINE void LoadKey(const Key* p, F32x16* ranks) {
  if constexpr (kRank == 1) {
    ranks[0] = Load(p);
  } else {
    LoadPairs(p, ranks[0], ranks[1]);
  }
}
template <int kRank, class Key>
inline void LoadKeyPartial(const Key* p, int32_t n, F32x16* ranks) {
  Key whole[16 * kRank] = {};
  std::memcpy(whole, p, sizeof(Key) * kRank * n);
  LoadKey<kRank>(whole, ranks);
}
