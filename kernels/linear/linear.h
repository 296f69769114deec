// y[t,o] = (Σ_i x[t,i]·w[o,i] + bias[o])·scale.
//
// x: [tokens, in] f32. w: [out, in] f32 or bf16, row-major as checkpoints store it (never
// repacked). bias: [out] f32 or null. y: [tokens, out] f32. Any row strides, any alignment; 64-byte
// aligned rows of w are fastest. tokens, out and in may be 0 (in == 0 sums to 0).
//
// Aliasing: y overlaps nothing. Slices are views: rows [a, b) of w give columns [a, b) of y;
// columns of w with the same columns of x give a partial sum.
//
// Bits: an element of y depends on its row of x, its row of w, its bias and scale, in, and the
// instruction set, never on tokens or out. Sixteen sums, the l-th over i ≡ l (mod 16) in ascending
// order by MulAdd, then ReduceAdd of kernels/simd, then the bias, then the scale.
//
// Threads: one; distinct calls share nothing. Errors: none. Allocates nothing.
// Traffic: w and bias once (dense weights), x once and y once (activations).
#ifndef MNEME_KERNELS_LINEAR_LINEAR_H_
#define MNEME_KERNELS_LINEAR_LINEAR_H_

#include "kernels/device/isa.h"
#include "kernels/tensor/tensor.h"
#include "kernels/traffic/traffic.h"

namespace mneme::kernels {

struct LinearArgs {
  Matrix<const float> x;        // [tokens, in]
  TensorView w;                 // [out, in] f32 or bf16
  const float* bias = nullptr;  // [out]
  float scale = 1;
  Matrix<float> y;  // [tokens, out]
};

using LinearFn = Traffic (*)(const LinearArgs&);

// The definition in plain loops; w f32 or bf16.
Traffic LinearReference(const LinearArgs& args);

// The implementation for weights of that dtype. REQUIRES: weight is kF32 or kBf16;
// isa <= DetectIsa() when it is called.
LinearFn ResolveLinear(DType weight, Isa isa);

// What any implementation reports for these shapes.
Traffic LinearTraffic(const LinearArgs& args);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_LINEAR_LINEAR_H_
