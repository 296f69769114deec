// y[t,:] = x[t,:] / (1 + e^−gate[t]): every row times the sigmoid of its own gate.
//
// x, y: [tokens, cols] f32; gate: [tokens, 1] f32. Any row strides, any alignment. Aliasing: y may
// be x (same data and stride); otherwise it overlaps nothing. The function is linear in x: some of
// the columns, or an addend of x, give the same part of y. Accuracy: within 3 ulp where the sigmoid
// is normal; NaN stays NaN. Bits: an element depends on its own x, its row's gate and the
// instruction set only. Threads: one; distinct calls share nothing. Errors: none. Allocates
// nothing. Traffic: x and gate read, y written (activations). Source: transformers, the shared
// expert of Qwen2-MoE.
#ifndef MNEME_KERNELS_ROW_GATE_ROW_GATE_H_
#define MNEME_KERNELS_ROW_GATE_ROW_GATE_H_

#include "kernels/device/isa.h"
#include "kernels/tensor/tensor.h"
#include "kernels/traffic/traffic.h"

namespace mneme::kernels {

struct RowGateArgs {
  Matrix<const float> x;     // [tokens, cols]
  Matrix<const float> gate;  // [tokens, 1]
  Matrix<float> y;           // [tokens, cols]
};

using RowGateFn = Traffic (*)(const RowGateArgs&);

// The definition in plain loops.
Traffic RowGateReference(const RowGateArgs& args);

// REQUIRES: isa <= DetectIsa() when the result is called.
RowGateFn ResolveRowGate(Isa isa);

// What any implementation reports for these shapes.
Traffic RowGateTraffic(const RowGateArgs& args);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_ROW_GATE_ROW_GATE_H_
