// The vector layer in GCC's vector extensions, four lanes to a part: baseline x86-64 and any other
// machine. Contracts: simd.h.
#ifndef MNEME_SIMD_VEC_PORTABLE_DEFINED
#define MNEME_SIMD_VEC_PORTABLE_DEFINED

constexpr int kSimdRegisters = 4;

typedef float F32x4 __attribute__((vector_size(16)));
typedef int32_t I32x4 __attribute__((vector_size(16)));
typedef uint16_t U16x8 __attribute__((vector_size(16)));
typedef uint16_t U16x8Unaligned __attribute__((vector_size(16), aligned(2), may_alias));

struct F32x16 {
  F32x4 part[4];
};
struct Mask16 {
  I32x4 part[4];
};

MNEME_SIMD_INLINE F32x16 Splat(float x) {
  const F32x4 all = {x, x, x, x};
  return {{all, all, all, all}};
}
MNEME_SIMD_INLINE F32x16 Zero() { return Splat(0); }

MNEME_SIMD_INLINE Mask16 FirstLanes(int64_t n) {
  const int32_t c = static_cast<int32_t>(n);
  const I32x4 count = {c, c, c, c};
  const I32x4 lanes = {0, 1, 2, 3};
  return {{lanes < count, lanes + 4 < count, lanes + 8 < count, lanes + 12 < count}};
}

// Four floats at any address.
typedef float F32x4Unaligned __attribute__((vector_size(16), aligned(4), may_alias));
MNEME_SIMD_INLINE F32x4 Load4(const float* p) {
  return *reinterpret_cast<const F32x4Unaligned*>(p);
}
MNEME_SIMD_INLINE void Store4(F32x4 a, float* p) { *reinterpret_cast<F32x4Unaligned*>(p) = a; }

MNEME_SIMD_INLINE F32x16 Load(const float* p) {
  return {{Load4(p), Load4(p + 4), Load4(p + 8), Load4(p + 12)}};
}
MNEME_SIMD_INLINE F32x16 LoadPartial(const float* p, int64_t n) {
  float whole[16] = {};
  if (n > 0) std::memcpy(whole, p, static_cast<size_t>(n) * sizeof(float));
  return Load(whole);
}
// Interleaved with zeros, which are the lower halves where bytes are little-endian.
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
MNEME_SIMD_INLINE F32x16 Load(const Bf16* p) {
  const U16x8 zero = {};
  const U16x8 a = *reinterpret_cast<const U16x8Unaligned*>(p);
  const U16x8 b = *reinterpret_cast<const U16x8Unaligned*>(p + 8);
  return {{reinterpret_cast<F32x4>(__builtin_shufflevector(zero, a, 0, 8, 1, 9, 2, 10, 3, 11)),
           reinterpret_cast<F32x4>(__builtin_shufflevector(zero, a, 4, 12, 5, 13, 6, 14, 7, 15)),
           reinterpret_cast<F32x4>(__builtin_shufflevector(zero, b, 0, 8, 1, 9, 2, 10, 3, 11)),
           reinterpret_cast<F32x4>(__builtin_shufflevector(zero, b, 4, 12, 5, 13, 6, 14, 7, 15))}};
}
MNEME_SIMD_INLINE F32x16 LoadInAnyOrder(const Bf16* p) { return Load(p); }
MNEME_SIMD_INLINE F32x16 LoadInAnyOrder(const float* p) { return Load(p); }
MNEME_SIMD_INLINE F32x16 InOrder(F32x16 a) { return a; }
MNEME_SIMD_INLINE F32x16 LoadPartial(const Bf16* p, int64_t n) {
  Bf16 whole[16] = {};
  if (n > 0) std::memcpy(whole, p, static_cast<size_t>(n) * sizeof(Bf16));
  return Load(whole);
}
MNEME_SIMD_INLINE void Store(F32x16 a, float* p) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) Store4(a.part[i], p + 4 * i);
}
MNEME_SIMD_INLINE void StorePartial(F32x16 a, float* p, int64_t n) {
  if (n > 0) std::memcpy(p, &a, static_cast<size_t>(n) * sizeof(float));
}

// The compiler's own choice is as good as any here.
MNEME_SIMD_INLINE F32x16 InRegister(F32x16 a) { return a; }

constexpr int kSimdParts = 4;
constexpr int kPartLanes = 4;
using F32Part = F32x4;
MNEME_SIMD_INLINE F32Part LoadPart(const float* p) { return Load4(p); }
MNEME_SIMD_INLINE void StorePart(F32Part a, float* p) { Store4(a, p); }
MNEME_SIMD_INLINE F32Part MulAddPart(F32Part a, F32Part b, F32Part c) { return a * b + c; }
MNEME_SIMD_INLINE F32Part InRegisterPart(F32Part a) { return a; }

MNEME_SIMD_INLINE F32x16 Add(F32x16 a, F32x16 b) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) a.part[i] += b.part[i];
  return a;
}
MNEME_SIMD_INLINE F32x16 Sub(F32x16 a, F32x16 b) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) a.part[i] -= b.part[i];
  return a;
}
MNEME_SIMD_INLINE F32x16 Mul(F32x16 a, F32x16 b) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) a.part[i] *= b.part[i];
  return a;
}
MNEME_SIMD_INLINE F32x16 Div(F32x16 a, F32x16 b) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) a.part[i] /= b.part[i];
  return a;
}
MNEME_SIMD_INLINE F32x16 MulAdd(F32x16 a, F32x16 b, F32x16 c) { return Add(Mul(a, b), c); }
MNEME_SIMD_INLINE F32x16 NegMulAdd(F32x16 a, F32x16 b, F32x16 c) { return Sub(c, Mul(a, b)); }
MNEME_SIMD_INLINE F32x16 Sqrt(F32x16 a) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) a.part[i][j] = __builtin_sqrtf(a.part[i][j]);
  }
  return a;
}
MNEME_SIMD_INLINE F32x16 Abs(F32x16 a) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    a.part[i] = reinterpret_cast<F32x4>(reinterpret_cast<I32x4>(a.part[i]) & 0x7fffffff);
  }
  return a;
}
// Adding 1.5 · 2^23 leaves no bits below one; taking it away again is exact.
MNEME_SIMD_INLINE F32x16 Round(F32x16 a) {
  const F32x16 shift = Splat(12582912.0f);
  return Sub(Add(a, shift), shift);
}

MNEME_SIMD_INLINE Mask16 Less(F32x16 a, F32x16 b) {
  Mask16 mask;
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) mask.part[i] = a.part[i] < b.part[i];
  return mask;
}
MNEME_SIMD_INLINE Mask16 GreaterEqual(F32x16 a, F32x16 b) {
  Mask16 mask;
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) mask.part[i] = a.part[i] >= b.part[i];
  return mask;
}
MNEME_SIMD_INLINE uint32_t Bits(Mask16 mask) {
  uint32_t bits = 0;
  for (int l = 0; l < 16; ++l) bits |= (mask.part[l / 4][l % 4] & 1u) << l;
  return bits;
}
MNEME_SIMD_INLINE F32x16 Choose(Mask16 mask, F32x16 a, F32x16 b) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    a.part[i] = reinterpret_cast<F32x4>((reinterpret_cast<I32x4>(a.part[i]) & mask.part[i]) |
                                        (reinterpret_cast<I32x4>(b.part[i]) & ~mask.part[i]));
  }
  return a;
}
MNEME_SIMD_INLINE F32x16 Max(F32x16 a, F32x16 b) { return Choose(Less(b, a), a, b); }
MNEME_SIMD_INLINE F32x16 Min(F32x16 a, F32x16 b) { return Choose(Less(a, b), a, b); }

// a · 2^n for whole n with |n| < 300; one rounding where the result is subnormal: n is halved, and
// only the second factor can leave the normal range. The integer is read from the low bits of
// n + 1.5 · 2^23, which is defined for NaN too.
MNEME_SIMD_INLINE F32x16 ScaleByPow2(F32x16 a, F32x16 n) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const I32x4 shifted = reinterpret_cast<I32x4>(n.part[i] + 12582912.0f);
    const I32x4 whole = (shifted & 0x3fffff) - 0x400000 * ((shifted >> 21) & 1);
    const I32x4 first = whole >> 1;
    const I32x4 f = ((first + 127) & 0xff) << 23;
    const I32x4 s = ((whole - first + 127) & 0xff) << 23;
    a.part[i] = a.part[i] * reinterpret_cast<F32x4>(f) * reinterpret_cast<F32x4>(s);
  }
  return a;
}

MNEME_SIMD_INLINE float ReduceAdd(F32x16 a) {
  const F32x4 r = (a.part[0] + a.part[2]) + (a.part[1] + a.part[3]);
  return (r[0] + r[2]) + (r[1] + r[3]);
}
MNEME_SIMD_INLINE float ReduceMax(F32x16 a) {
  float most = a.part[0][0];
  for (int l = 1; l < 16; ++l) most = a.part[l / 4][l % 4] > most ? a.part[l / 4][l % 4] : most;
  return most;
}

MNEME_SIMD_INLINE F32x16 LoadHalves(const float* lo, const float* hi) {
  return {{Load4(lo), Load4(lo + 4), Load4(hi), Load4(hi + 4)}};
}
MNEME_SIMD_INLINE void StoreHalves(F32x16 a, float* lo, float* hi) {
  Store4(a.part[0], lo);
  Store4(a.part[1], lo + 4);
  Store4(a.part[2], hi);
  Store4(a.part[3], hi + 4);
}

MNEME_SIMD_INLINE F32x16 ReduceAdd16(const F32x16* v) {
  float sums[16];
  for (int j = 0; j < 16; ++j) sums[j] = ReduceAdd(v[j]);
  return Load(sums);
}
MNEME_SIMD_INLINE F32x16 ReduceAdd8(const F32x16* v) {
  float sums[8];
  for (int j = 0; j < 8; ++j) sums[j] = ReduceAdd(v[j]);
  return LoadHalves(sums, sums);
}

#include "kernels/simd/vec_math.inl"

#endif  // MNEME_SIMD_VEC_PORTABLE_DEFINED
