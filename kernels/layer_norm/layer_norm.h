// y = (x − mean(x)) / √(var(x) + eps)·w + b over each chunk; var is the mean of (x − mean(x))².
//
// x, y: [rows, cols] f32, any strides, any alignment. Every row is cols / width chunks of width
// elements, each normed by itself: width == cols norms rows, width == head_dim norms heads. weight,
// bias: [width] f32, or null (1 and 0). REQUIRES: width > 0, cols % width == 0, eps >= 0; a chunk
// of zeros with eps == 0 gives NaN.
//
// Aliasing: y may be x (same data and strides); otherwise they do not overlap.
// Bits: a chunk's results depend on that chunk, weight, bias, eps and the instruction set only.
// Threads: one; distinct calls share nothing. Errors: none. Allocates nothing.
// Traffic: weight and bias once (dense weights), x and y once (activations).
// Source: torch.nn.functional.layer_norm.
#ifndef MNEME_KERNELS_LAYER_NORM_LAYER_NORM_H_
#define MNEME_KERNELS_LAYER_NORM_LAYER_NORM_H_

#include "kernels/device/isa.h"
#include "kernels/tensor/tensor.h"
#include "kernels/traffic/traffic.h"

namespace mneme::kernels {

struct LayerNormArgs {
  Matrix<const float> x;  // [rows, cols]
  int64_t width = 0;
  const float* weight = nullptr;  // [width]
  const float* bias = nullptr;    // [width]
  float eps = 0;
  Matrix<float> y;  // [rows, cols]
};

using LayerNormFn = Traffic (*)(const LayerNormArgs&);

// The definition in plain loops.
Traffic LayerNormReference(const LayerNormArgs& args);

// REQUIRES: isa <= DetectIsa() when the result is called.
LayerNormFn ResolveLayerNorm(Isa isa);

// What any implementation reports for these shapes.
Traffic LayerNormTraffic(const LayerNormArgs& args);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_LAYER_NORM_LAYER_NORM_H_
