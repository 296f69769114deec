// The part of the vector layer that is written in terms of the rest: sums of several accumulators
// and elementary functions. Included by vec_<isa>.inl; contracts in simd.h. Errors below were
// measured by simd_test.cc against double precision on kAvx2 and kAvx512; kPortable, whose MulAdd
// rounds twice, stays within one more unit.

MNEME_SIMD_INLINE void Prefetch(const void* p) { __builtin_prefetch(p, 0, 3); }
MNEME_SIMD_INLINE void PrefetchToL2(const void* p) { __builtin_prefetch(p, 0, 2); }

// x, of which the compiler knows nothing any more: it stays in one register.
template <class T>
MNEME_SIMD_INLINE T Opaque(T x) {
  asm("" : "+r"(x));
  return x;
}

template <int kCount>
MNEME_SIMD_INLINE void ReduceAddEach(const F32x16* v, float* out) {
  constexpr int kBy16 = kCount / 16 * 16;
  constexpr int kRest = kCount - kBy16;
#pragma GCC unroll 16
  for (int i = 0; i < kBy16; i += 16) Store(ReduceAdd16(v + i), out + i);
  if constexpr (kRest > 3) {
    constexpr int kPadded = kRest > 8 ? 16 : 8;
    F32x16 rest[kPadded];
#pragma GCC unroll 16
    for (int i = 0; i < kPadded; ++i) rest[i] = v[kBy16 + (i < kRest ? i : 0)];
    float sums[16];
    if constexpr (kRest > 8) {
      Store(ReduceAdd16(rest), sums);
    } else {
      Store(ReduceAdd8(rest), sums);
    }
    std::memcpy(out + kBy16, sums, kRest * sizeof(float));
  } else {
#pragma GCC unroll 8
    for (int i = kBy16; i < kCount; ++i) out[i] = ReduceAdd(v[i]);
  }
}

// Horner's rule: c[0] + x (c[1] + x (c[2] + …)).
template <int kCount>
MNEME_SIMD_INLINE F32x16 Polynomial(F32x16 x, const float (&c)[kCount]) {
  F32x16 y = Splat(c[kCount - 1]);
#pragma GCC unroll 16
  for (int i = kCount - 2; i >= 0; --i) y = MulAdd(y, x, Splat(c[i]));
  return y;
}

// e^x within 1.0 ulp (subnormal results: within one unit); inf above 88.73, 0 below −103.98, NaN
// for NaN. x = n·ln 2 + r, |r| ≤ ln 2 / 2, e^r = 1 + r + r²·q(r), q minimax. ln 2 is split so that
// n·kLn2High is exact also without fused multiply-add.
MNEME_SIMD_INLINE F32x16 Exp(F32x16 x) {
  constexpr float kLog2E = 1.44269504f;
  constexpr float kLn2High = 0.693359375f;
  constexpr float kLn2Low = -2.12194440e-4f;
  constexpr float kQ[] = {0.5f,         0.16666667f,  0.04166627f,
                          0.008333265f, 0.001394619f, 0.00019917973f};
  // NaN is the second operand, which Min and Max keep.
  x = Max(Splat(-110.0f), Min(Splat(95.0f), x));
  const F32x16 n = Round(Mul(x, Splat(kLog2E)));
  const F32x16 r = NegMulAdd(n, Splat(kLn2Low), NegMulAdd(n, Splat(kLn2High), x));
  const F32x16 tail = MulAdd(Mul(r, r), Polynomial(r, kQ), r);
  return ScaleByPow2(Add(tail, Splat(1.0f)), n);
}

// 1 / (1 + e^−x) within 2.5 ulp where that is normal.
MNEME_SIMD_INLINE F32x16 Sigmoid(F32x16 x) {
  return Div(Splat(1.0f), Add(Splat(1.0f), Exp(Sub(Zero(), x))));
}

// x / (1 + e^−x) within 2.5 ulp where that is normal; −0 for x towards −inf.
MNEME_SIMD_INLINE F32x16 Silu(F32x16 x) { return Div(x, Add(Splat(1.0f), Exp(Sub(Zero(), x)))); }

// The error function is split at kErfSplit: t + t·q(t²) below; 1 − e^p(t) above, where p is fitted
// to log erfc on [0.928, 4] with the error weighted by erfc. Beyond 4 erfc is under 1.6e-8.
constexpr float kErfSplit = 0.9375f;
constexpr float kErfSmall[] = {0.12837917f, -0.37612632f,    0.11283679f,  -0.026858497f,
                               0.00519883f, -0.00081180746f, 8.267459e-05f};
constexpr float kLogErfc[] = {0.00017797272f, -1.1295309f,   -0.6333145f,   -0.10831606f,
                              0.025142856f,   -0.004180025f, 0.0004363253f, -2.1257269e-05f};

// erf(t) for 0 <= t < kErfSplit.
MNEME_SIMD_INLINE F32x16 ErfSmall(F32x16 t) {
  return MulAdd(t, Polynomial(Mul(t, t), kErfSmall), t);
}
// erfc(t) for t >= kErfSplit.
MNEME_SIMD_INLINE F32x16 ErfcLarge(F32x16 t) {
  return Exp(Polynomial(Min(Splat(10.0f), t), kLogErfc));
}

// erf(x) within 1e-7 absolute and 2 ulp where |x| < kErfSplit.
MNEME_SIMD_INLINE F32x16 Erf(F32x16 x) {
  const F32x16 t = Abs(x);
  const F32x16 one = Splat(1.0f);
  const F32x16 erf = Choose(Less(t, Splat(kErfSplit)), ErfSmall(t), Sub(one, ErfcLarge(t)));
  return Choose(Less(x, Zero()), Sub(Zero(), erf), erf);
}

// x·(1 + erf(x / √2)) / 2 within 1e-7·max(1, |x|) for finite x. For x < 0 the tail is used as it
// is, without the cancellation in 1 + erf.
MNEME_SIMD_INLINE F32x16 Gelu(F32x16 x) {
  const F32x16 t = Mul(Abs(x), Splat(0.70710678f));
  const F32x16 half_erfc = Mul(Splat(0.5f), ErfcLarge(t));
  const F32x16 half = Mul(Splat(0.5f), x);
  // erf is odd: x·erf(x / √2) = |x|·erf(t).
  const F32x16 small = MulAdd(Abs(half), ErfSmall(t), half);
  const F32x16 tail = Mul(x, half_erfc);
  const F32x16 large = Choose(Less(x, Zero()), tail, Sub(x, tail));
  return Choose(Less(t, Splat(kErfSplit)), small, large);
}
