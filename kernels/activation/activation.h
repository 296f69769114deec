// Element by element:
//   kSwiglu  y = a·g / (1 + e^−g)          (a·silu(g))
//   kGelu    y = a·(1 + erf(a / √2)) / 2   (exact, not the tanh form)
//   kRelu    y = max(a, 0)
//
// a, g, y: [rows, cols] f32, any row stride, any alignment. g is empty except for kSwiglu.
// Aliasing: y may be a or g (same data and stride); otherwise it overlaps neither.
// Accuracy: kSwiglu within 5 ulp, kGelu within 1e-7·max(1, |a|), kRelu exact; NaN stays NaN.
// Bits: an element depends on its own inputs and the instruction set only.
// Threads: one; distinct calls share nothing. Errors: none. Allocates nothing.
// Traffic: inputs and y (activations).
// Source: torch.nn.functional silu, gelu, relu.
#ifndef MNEME_KERNELS_ACTIVATION_ACTIVATION_H_
#define MNEME_KERNELS_ACTIVATION_ACTIVATION_H_

#include "kernels/device/isa.h"
#include "kernels/tensor/tensor.h"
#include "kernels/traffic/traffic.h"

namespace mneme::kernels {

enum class ActivationKind : uint8_t { kSwiglu, kGelu, kRelu };

struct ActivationArgs {
  ActivationKind kind = ActivationKind::kSwiglu;
  Matrix<const float> a;  // [rows, cols]
  Matrix<const float> g;  // [rows, cols], the gate of kSwiglu
  Matrix<float> y;        // [rows, cols]
};

using ActivationFn = Traffic (*)(const ActivationArgs&);

// The definition in plain loops.
Traffic ActivationReference(const ActivationArgs& args);

// The implementation for that kind. REQUIRES: args.kind == kind and isa <= DetectIsa() when the
// result is called.
ActivationFn ResolveActivation(ActivationKind kind, Isa isa);

// What any implementation reports for these shapes.
Traffic ActivationTraffic(const ActivationArgs& args);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_ACTIVATION_ACTIVATION_H_
