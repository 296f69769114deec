// y = a + b, element by element.
//
// a, b, y: [rows, cols] f32, any row stride, any alignment.
// Aliasing: y may be a or b (same data and stride); otherwise it overlaps neither.
// Bits: the same on every instruction set: one rounding per element.
// Threads: one; distinct calls share nothing. Errors: none. Allocates nothing.
// Traffic: a, b and y (activations).
#ifndef MNEME_KERNELS_ADDITION_ADDITION_H_
#define MNEME_KERNELS_ADDITION_ADDITION_H_

#include "kernels/device/isa.h"
#include "kernels/tensor/tensor.h"
#include "kernels/traffic/traffic.h"

namespace mneme::kernels {

struct AdditionArgs {
  Matrix<const float> a, b;  // [rows, cols]
  Matrix<float> y;           // [rows, cols]
};

using AdditionFn = Traffic (*)(const AdditionArgs&);

// The definition in plain loops.
Traffic AdditionReference(const AdditionArgs& args);

// REQUIRES: isa <= DetectIsa() when the result is called.
AdditionFn ResolveAddition(Isa isa);

// What any implementation reports for these shapes.
Traffic AdditionTraffic(const AdditionArgs& args);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_ADDITION_ADDITION_H_
