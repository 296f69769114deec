// x = min(max(x, −limit), limit), element by element, in place; NaN stays NaN.
//
// x: [rows, cols] f32, any row stride, any alignment. REQUIRES: limit >= 0.
// Bits: the same on every instruction set: nothing is rounded.
// Threads: one; distinct calls share nothing. Errors: none. Allocates nothing.
// Traffic: x read and written (activations). Source: torch.clamp, as `clip_qkv` uses it.
#ifndef MNEME_KERNELS_CLAMP_CLAMP_H_
#define MNEME_KERNELS_CLAMP_CLAMP_H_

#include "kernels/device/isa.h"
#include "kernels/tensor/tensor.h"
#include "kernels/traffic/traffic.h"

namespace mneme::kernels {

struct ClampArgs {
  Matrix<float> x;  // [rows, cols]
  float limit = 0;
};

using ClampFn = Traffic (*)(const ClampArgs&);

// The definition in plain loops.
Traffic ClampReference(const ClampArgs& args);

// REQUIRES: isa <= DetectIsa() when the result is called.
ClampFn ResolveClamp(Isa isa);

// What any implementation reports for these shapes.
Traffic ClampTraffic(const ClampArgs& args);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_CLAMP_CLAMP_H_
