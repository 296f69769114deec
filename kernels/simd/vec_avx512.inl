// The vector layer on AVX-512 (F, BW, DQ, VL): one register per F32x16. Contracts: simd.h.
#ifndef MNEME_SIMD_VEC_AVX512_DEFINED
#define MNEME_SIMD_VEC_AVX512_DEFINED

constexpr int kSimdRegisters = 32;

struct F32x16 {
  __m512 v;
};
struct Mask16 {
  __mmask16 m;
};

MNEME_SIMD_INLINE F32x16 Zero() { return {_mm512_setzero_ps()}; }
MNEME_SIMD_INLINE F32x16 Splat(float x) { return {_mm512_set1_ps(x)}; }

MNEME_SIMD_INLINE Mask16 FirstLanes(int64_t n) {
  return {static_cast<__mmask16>((uint32_t{1} << n) - 1)};
}

MNEME_SIMD_INLINE F32x16 Load(const float* p) { return {_mm512_loadu_ps(p)}; }
MNEME_SIMD_INLINE F32x16 LoadPartial(const float* p, int64_t n) {
  return {_mm512_maskz_loadu_ps(FirstLanes(n).m, p)};
}
// One permutation puts each half-word into the upper half of its lane: half the vector-port work of
// a zero extension and a shift.
MNEME_SIMD_INLINE F32x16 WidenBf16(__m256i bits) {
  const __m512i to_upper_half =
      _mm512_setr_epi32(0x00000, 0x10000, 0x20000, 0x30000, 0x40000, 0x50000, 0x60000, 0x70000,
                        0x80000, 0x90000, 0xa0000, 0xb0000, 0xc0000, 0xd0000, 0xe0000, 0xf0000);
  return {_mm512_castsi512_ps(
      _mm512_maskz_permutexvar_epi16(0xaaaaaaaa, to_upper_half, _mm512_castsi256_si512(bits)))};
}
MNEME_SIMD_INLINE F32x16 Load(const Bf16* p) {
  return WidenBf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
MNEME_SIMD_INLINE F32x16 LoadInAnyOrder(const Bf16* p) { return Load(p); }
MNEME_SIMD_INLINE F32x16 LoadInAnyOrder(const float* p) { return Load(p); }
MNEME_SIMD_INLINE F32x16 InOrder(F32x16 a) { return a; }
MNEME_SIMD_INLINE F32x16 LoadPartial(const Bf16* p, int64_t n) {
  return WidenBf16(_mm256_maskz_loadu_epi16(FirstLanes(n).m, p));
}
MNEME_SIMD_INLINE void Store(F32x16 a, float* p) { _mm512_storeu_ps(p, a.v); }
MNEME_SIMD_INLINE void StorePartial(F32x16 a, float* p, int64_t n) {
  _mm512_mask_storeu_ps(p, FirstLanes(n).m, a.v);
}

// Stops the compiler from loading the vector again at each use, which costs load ports.
MNEME_SIMD_INLINE F32x16 InRegister(F32x16 a) {
  asm("" : "+v"(a.v));
  return a;
}

constexpr int kSimdParts = 1;
constexpr int kPartLanes = 16;
using F32Part = __m512;
MNEME_SIMD_INLINE F32Part LoadPart(const float* p) { return _mm512_loadu_ps(p); }
MNEME_SIMD_INLINE void StorePart(F32Part a, float* p) { _mm512_storeu_ps(p, a); }
MNEME_SIMD_INLINE F32Part MulAddPart(F32Part a, F32Part b, F32Part c) {
  return _mm512_fmadd_ps(a, b, c);
}
MNEME_SIMD_INLINE F32Part InRegisterPart(F32Part a) {
  asm("" : "+v"(a));
  return a;
}

MNEME_SIMD_INLINE F32x16 Add(F32x16 a, F32x16 b) { return {_mm512_add_ps(a.v, b.v)}; }
MNEME_SIMD_INLINE F32x16 Sub(F32x16 a, F32x16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
MNEME_SIMD_INLINE F32x16 Mul(F32x16 a, F32x16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
MNEME_SIMD_INLINE F32x16 Div(F32x16 a, F32x16 b) { return {_mm512_div_ps(a.v, b.v)}; }
MNEME_SIMD_INLINE F32x16 Max(F32x16 a, F32x16 b) { return {_mm512_max_ps(a.v, b.v)}; }
MNEME_SIMD_INLINE F32x16 Min(F32x16 a, F32x16 b) { return {_mm512_min_ps(a.v, b.v)}; }
MNEME_SIMD_INLINE F32x16 MulAdd(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
MNEME_SIMD_INLINE F32x16 NegMulAdd(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm512_fnmadd_ps(a.v, b.v, c.v)};
}
MNEME_SIMD_INLINE F32x16 Sqrt(F32x16 a) { return {_mm512_sqrt_ps(a.v)}; }
MNEME_SIMD_INLINE F32x16 Abs(F32x16 a) { return {_mm512_abs_ps(a.v)}; }
MNEME_SIMD_INLINE F32x16 Round(F32x16 a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}

MNEME_SIMD_INLINE Mask16 Less(F32x16 a, F32x16 b) {
  return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)};
}
MNEME_SIMD_INLINE Mask16 GreaterEqual(F32x16 a, F32x16 b) {
  return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ)};
}
MNEME_SIMD_INLINE uint32_t Bits(Mask16 mask) { return mask.m; }
MNEME_SIMD_INLINE F32x16 Choose(Mask16 mask, F32x16 a, F32x16 b) {
  return {_mm512_mask_blend_ps(mask.m, b.v, a.v)};
}

// a · 2^n for whole n with |n| < 300; one rounding where the result is subnormal.
MNEME_SIMD_INLINE F32x16 ScaleByPow2(F32x16 a, F32x16 n) { return {_mm512_scalef_ps(a.v, n.v)}; }

MNEME_SIMD_INLINE float ReduceAdd(F32x16 a) {
  const __m256 r8 = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 r4 = _mm_add_ps(_mm256_castps256_ps128(r8), _mm256_extractf128_ps(r8, 1));
  const __m128 r2 = _mm_add_ps(r4, _mm_movehl_ps(r4, r4));
  return _mm_cvtss_f32(_mm_add_ss(r2, _mm_movehdup_ps(r2)));
}
MNEME_SIMD_INLINE float ReduceMax(F32x16 a) {
  const __m256 r8 = _mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 r4 = _mm_max_ps(_mm256_castps256_ps128(r8), _mm256_extractf128_ps(r8, 1));
  const __m128 r2 = _mm_max_ps(r4, _mm_movehl_ps(r4, r4));
  return _mm_cvtss_f32(_mm_max_ss(r2, _mm_movehdup_ps(r2)));
}

// The transposing tree. Each step adds two halves of two vectors and keeps both sums in one; which
// lanes are added is ReduceAdd's order, so the bits are its bits. A blend and one shuffle per step:
// blends may go to either vector port, shuffles to one only.
//   Halves:   a, b -> [a: lanes l + l+8 | b: same]
//   Quarters: [a|b], [c|d] -> blocks of four lanes a, c, b, d
//   Pairs:    blocks of (x0+x2, x1+x3, y0+y2, y1+y3), the y pair in either order of operands
//   Singles:  blocks of (x0+x1, x2+x3, y0+y1, y2+y3)
MNEME_SIMD_INLINE __m512 AddHalves(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_mask_blend_ps(0xff00, a, b),
                       _mm512_shuffle_f32x4(a, b, _MM_SHUFFLE(1, 0, 3, 2)));
}
MNEME_SIMD_INLINE __m512 AddQuarters(__m512 ab, __m512 cd) {
  const __m512i cross =
      _mm512_setr_epi32(4, 5, 6, 7, 16, 17, 18, 19, 12, 13, 14, 15, 24, 25, 26, 27);
  return _mm512_add_ps(_mm512_mask_blend_ps(0xf0f0, ab, cd), _mm512_permutex2var_ps(ab, cross, cd));
}
MNEME_SIMD_INLINE __m512 AddPairs(__m512 x, __m512 y) {
  return _mm512_add_ps(_mm512_mask_blend_ps(0xcccc, x, y),
                       _mm512_shuffle_ps(x, y, _MM_SHUFFLE(1, 0, 3, 2)));
}
MNEME_SIMD_INLINE __m512 AddSingles(__m512 x, __m512 y) {
  return _mm512_add_ps(_mm512_shuffle_ps(x, y, _MM_SHUFFLE(2, 0, 2, 0)),
                       _mm512_shuffle_ps(x, y, _MM_SHUFFLE(3, 1, 3, 1)));
}
// [a, e | c, g | b, f | d, h], two lanes each.
MNEME_SIMD_INLINE __m512 AddEight(__m512 a, __m512 b, __m512 c, __m512 d, __m512 e, __m512 f,
                                  __m512 g, __m512 h) {
  return AddPairs(AddQuarters(AddHalves(a, b), AddHalves(c, d)),
                  AddQuarters(AddHalves(e, f), AddHalves(g, h)));
}

MNEME_SIMD_INLINE F32x16 ReduceAdd16(const F32x16* v) {
  const __m512 x = AddEight(v[0].v, v[8].v, v[4].v, v[12].v, v[1].v, v[9].v, v[5].v, v[13].v);
  const __m512 y = AddEight(v[2].v, v[10].v, v[6].v, v[14].v, v[3].v, v[11].v, v[7].v, v[15].v);
  return {AddSingles(x, y)};
}
MNEME_SIMD_INLINE F32x16 ReduceAdd8(const F32x16* v) {
  const __m512 x = AddEight(v[0].v, v[4].v, v[2].v, v[6].v, v[1].v, v[5].v, v[3].v, v[7].v);
  const __m512i first = _mm512_setr_epi32(0, 1, 4, 5, 8, 9, 12, 13, 0, 1, 4, 5, 8, 9, 12, 13);
  return {_mm512_permutexvar_ps(first, AddSingles(x, x))};
}

MNEME_SIMD_INLINE F32x16 LoadHalves(const float* lo, const float* hi) {
  return {_mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(lo)), _mm256_loadu_ps(hi), 1)};
}
MNEME_SIMD_INLINE void StoreHalves(F32x16 a, float* lo, float* hi) {
  _mm256_storeu_ps(lo, _mm512_castps512_ps256(a.v));
  _mm256_storeu_ps(hi, _mm512_extractf32x8_ps(a.v, 1));
}

#include "kernels/simd/vec_math.inl"

#endif  // MNEME_SIMD_VEC_AVX512_DEFINED
