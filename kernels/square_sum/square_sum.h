// y[t] = Σ x[t,:]²: what a norm needs of a row whose columns lie on several ranks.
//
// x: [tokens, cols] f32; y: [tokens, 1] f32, overwritten. Any row strides, any alignment. Aliasing:
// y overlaps nothing. The sum over ranks of their columns' sums is the row's; rms_norm.h takes it
// as `squares`. Accuracy: relative error at most (cols + 1)·2^-24. NaN and infinity are kept. Bits:
// an output depends on its row and the instruction set only. Threads: one; distinct calls share
// nothing. Errors: none. Allocates nothing. Traffic: x read, y written (activations). Source: the
// q_norm and k_norm of OLMoE in transformers, which span all heads.
#ifndef MNEME_KERNELS_SQUARE_SUM_SQUARE_SUM_H_
#define MNEME_KERNELS_SQUARE_SUM_SQUARE_SUM_H_

#include "kernels/device/isa.h"
#include "kernels/tensor/tensor.h"
#include "kernels/traffic/traffic.h"

namespace mneme::kernels {

struct SquareSumArgs {
  Matrix<const float> x;  // [tokens, cols]
  Matrix<float> y;        // [tokens, 1]
};

using SquareSumFn = Traffic (*)(const SquareSumArgs&);

// The definition in plain loops.
Traffic SquareSumReference(const SquareSumArgs& args);

// REQUIRES: isa <= DetectIsa() when the result is called.
SquareSumFn ResolveSquareSum(Isa isa);

// What any implementation reports for these shapes.
Traffic SquareSumTraffic(const SquareSumArgs& args);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_SQUARE_SUM_SQUARE_SUM_H_
