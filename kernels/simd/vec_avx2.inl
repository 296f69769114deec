// The vector layer on AVX2 and FMA: two registers per F32x16, lanes 0-7 and 8-15. Contracts:
// simd.h.
#ifndef MNEME_SIMD_VEC_AVX2_DEFINED
#define MNEME_SIMD_VEC_AVX2_DEFINED

constexpr int kSimdRegisters = 8;

struct F32x16 {
  __m256 lo;
  __m256 hi;
};
struct Mask16 {
  __m256 lo;
  __m256 hi;
};

MNEME_SIMD_INLINE F32x16 Zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
MNEME_SIMD_INLINE F32x16 Splat(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }

MNEME_SIMD_INLINE Mask16 FirstLanes(int64_t n) {
  const __m256i count = _mm256_set1_epi32(static_cast<int>(n));
  const __m256i lo = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i hi = _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15);
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(count, lo)),
          _mm256_castsi256_ps(_mm256_cmpgt_epi32(count, hi))};
}

MNEME_SIMD_INLINE F32x16 Load(const float* p) {
  return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
MNEME_SIMD_INLINE F32x16 LoadPartial(const float* p, int64_t n) {
  const Mask16 mask = FirstLanes(n);
  return {_mm256_maskload_ps(p, _mm256_castps_si256(mask.lo)),
          _mm256_maskload_ps(p + 8, _mm256_castps_si256(mask.hi))};
}
MNEME_SIMD_INLINE __m256 WidenBf16(__m128i bits) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
MNEME_SIMD_INLINE F32x16 Load(const Bf16* p) {
  const __m128i* q = reinterpret_cast<const __m128i*>(p);
  return {WidenBf16(_mm_loadu_si128(q)), WidenBf16(_mm_loadu_si128(q + 1))};
}
// Even elements in lo, odd ones in hi: 32 bits of two bf16 hold the odd one above zeros and the
// even one above the odd one, so a shift and a mask widen them. In order, a permutation across the
// halves and a shift for each eight are on the two ports that permute, three times the work.
MNEME_SIMD_INLINE F32x16 LoadInAnyOrder(const Bf16* p) {
  const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)),
          _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(~0xffff)))};
}
MNEME_SIMD_INLINE F32x16 LoadInAnyOrder(const float* p) {
  // Elements 0-3 and 8-11, 4-7 and 12-15: then shuffles inside the halves do.
  const __m256 a =
      _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + 8), 1);
  const __m256 b =
      _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p + 4)), _mm_loadu_ps(p + 12), 1);
  return {_mm256_shuffle_ps(a, b, 0x88), _mm256_shuffle_ps(a, b, 0xdd)};
}
MNEME_SIMD_INLINE F32x16 InOrder(F32x16 a) {
  const __m256 low = _mm256_unpacklo_ps(a.lo, a.hi);
  const __m256 high = _mm256_unpackhi_ps(a.lo, a.hi);
  return {_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31)};
}
MNEME_SIMD_INLINE F32x16 LoadPartial(const Bf16* p, int64_t n) {
  Bf16 whole[16] = {};
  std::memcpy(whole, p, static_cast<size_t>(n) * sizeof(Bf16));
  return Load(whole);
}
MNEME_SIMD_INLINE void Store(F32x16 a, float* p) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
MNEME_SIMD_INLINE void StorePartial(F32x16 a, float* p, int64_t n) {
  const Mask16 mask = FirstLanes(n);
  _mm256_maskstore_ps(p, _mm256_castps_si256(mask.lo), a.lo);
  _mm256_maskstore_ps(p + 8, _mm256_castps_si256(mask.hi), a.hi);
}

// Stops the compiler from loading the vector again at each use, which costs load ports.
MNEME_SIMD_INLINE F32x16 InRegister(F32x16 a) {
  asm("" : "+x"(a.lo), "+x"(a.hi));
  return a;
}

constexpr int kSimdParts = 2;
constexpr int kPartLanes = 8;
using F32Part = __m256;
MNEME_SIMD_INLINE F32Part LoadPart(const float* p) { return _mm256_loadu_ps(p); }
MNEME_SIMD_INLINE void StorePart(F32Part a, float* p) { _mm256_storeu_ps(p, a); }
MNEME_SIMD_INLINE F32Part MulAddPart(F32Part a, F32Part b, F32Part c) {
  return _mm256_fmadd_ps(a, b, c);
}
MNEME_SIMD_INLINE F32Part InRegisterPart(F32Part a) {
  asm("" : "+x"(a));
  return a;
}

MNEME_SIMD_INLINE F32x16 Add(F32x16 a, F32x16 b) {
  return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
MNEME_SIMD_INLINE F32x16 Sub(F32x16 a, F32x16 b) {
  return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
MNEME_SIMD_INLINE F32x16 Mul(F32x16 a, F32x16 b) {
  return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
MNEME_SIMD_INLINE F32x16 Div(F32x16 a, F32x16 b) {
  return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
MNEME_SIMD_INLINE F32x16 Max(F32x16 a, F32x16 b) {
  return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}
MNEME_SIMD_INLINE F32x16 Min(F32x16 a, F32x16 b) {
  return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}
MNEME_SIMD_INLINE F32x16 MulAdd(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
MNEME_SIMD_INLINE F32x16 NegMulAdd(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm256_fnmadd_ps(a.lo, b.lo, c.lo), _mm256_fnmadd_ps(a.hi, b.hi, c.hi)};
}
MNEME_SIMD_INLINE F32x16 Sqrt(F32x16 a) { return {_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)}; }
MNEME_SIMD_INLINE F32x16 Abs(F32x16 a) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
}
MNEME_SIMD_INLINE F32x16 Round(F32x16 a) {
  return {_mm256_round_ps(a.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
          _mm256_round_ps(a.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}

MNEME_SIMD_INLINE Mask16 Less(F32x16 a, F32x16 b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ)};
}
MNEME_SIMD_INLINE Mask16 GreaterEqual(F32x16 a, F32x16 b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_GE_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_GE_OQ)};
}
MNEME_SIMD_INLINE uint32_t Bits(Mask16 mask) {
  return static_cast<uint32_t>(_mm256_movemask_ps(mask.lo)) |
         static_cast<uint32_t>(_mm256_movemask_ps(mask.hi)) << 8;
}
MNEME_SIMD_INLINE F32x16 Choose(Mask16 mask, F32x16 a, F32x16 b) {
  return {_mm256_blendv_ps(b.lo, a.lo, mask.lo), _mm256_blendv_ps(b.hi, a.hi, mask.hi)};
}

// a · 2^n for whole n with |n| < 300; one rounding where the result is subnormal: n is halved, and
// only the second factor can leave the normal range.
MNEME_SIMD_INLINE __m256 ScaleByPow2(__m256 a, __m256 n) {
  const __m256i whole = _mm256_cvtps_epi32(n);
  const __m256i first = _mm256_srai_epi32(whole, 1);
  const __m256i second = _mm256_sub_epi32(whole, first);
  const __m256i one = _mm256_set1_epi32(127);
  const __m256 f = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(first, one), 23));
  const __m256 s = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(second, one), 23));
  return _mm256_mul_ps(_mm256_mul_ps(a, f), s);
}
MNEME_SIMD_INLINE F32x16 ScaleByPow2(F32x16 a, F32x16 n) {
  return {ScaleByPow2(a.lo, n.lo), ScaleByPow2(a.hi, n.hi)};
}

MNEME_SIMD_INLINE float ReduceAdd(F32x16 a) {
  const __m256 r8 = _mm256_add_ps(a.lo, a.hi);
  const __m128 r4 = _mm_add_ps(_mm256_castps256_ps128(r8), _mm256_extractf128_ps(r8, 1));
  const __m128 r2 = _mm_add_ps(r4, _mm_movehl_ps(r4, r4));
  return _mm_cvtss_f32(_mm_add_ss(r2, _mm_movehdup_ps(r2)));
}
MNEME_SIMD_INLINE float ReduceMax(F32x16 a) {
  const __m256 r8 = _mm256_max_ps(a.lo, a.hi);
  const __m128 r4 = _mm_max_ps(_mm256_castps256_ps128(r8), _mm256_extractf128_ps(r8, 1));
  const __m128 r2 = _mm_max_ps(r4, _mm_movehl_ps(r4, r4));
  return _mm_cvtss_f32(_mm_max_ss(r2, _mm_movehdup_ps(r2)));
}

// The transposing tree: see vec_avx512.inl. Two accumulators of eight lanes each (their halves
// already added) share a register from the second step on.
MNEME_SIMD_INLINE __m256 AddQuarters(F32x16 a, F32x16 b) {
  const __m256 a8 = _mm256_add_ps(a.lo, a.hi);
  const __m256 b8 = _mm256_add_ps(b.lo, b.hi);
  return _mm256_add_ps(_mm256_blend_ps(a8, b8, 0xf0), _mm256_permute2f128_ps(a8, b8, 0x21));
}
MNEME_SIMD_INLINE __m256 AddPairs(__m256 x, __m256 y) {
  return _mm256_add_ps(_mm256_blend_ps(x, y, 0xcc),
                       _mm256_shuffle_ps(x, y, _MM_SHUFFLE(1, 0, 3, 2)));
}

MNEME_SIMD_INLINE __m256 AddEight(const F32x16* v) {
  const __m256 x = AddPairs(AddQuarters(v[0], v[4]), AddQuarters(v[1], v[5]));
  const __m256 y = AddPairs(AddQuarters(v[2], v[6]), AddQuarters(v[3], v[7]));
  return _mm256_add_ps(_mm256_shuffle_ps(x, y, _MM_SHUFFLE(2, 0, 2, 0)),
                       _mm256_shuffle_ps(x, y, _MM_SHUFFLE(3, 1, 3, 1)));
}
MNEME_SIMD_INLINE F32x16 ReduceAdd16(const F32x16* v) { return {AddEight(v), AddEight(v + 8)}; }
MNEME_SIMD_INLINE F32x16 ReduceAdd8(const F32x16* v) {
  const __m256 sums = AddEight(v);
  return {sums, sums};
}

MNEME_SIMD_INLINE F32x16 LoadHalves(const float* lo, const float* hi) {
  return {_mm256_loadu_ps(lo), _mm256_loadu_ps(hi)};
}
MNEME_SIMD_INLINE void StoreHalves(F32x16 a, float* lo, float* hi) {
  _mm256_storeu_ps(lo, a.lo);
  _mm256_storeu_ps(hi, a.hi);
}

#include "kernels/simd/vec_math.inl"

#endif  // MNEME_SIMD_VEC_AVX2_DEFINED
