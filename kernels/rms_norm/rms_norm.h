// y = x / √(mean(x²) + eps)·w + b over each chunk.
//
// x, y: [rows, cols] f32, any strides, any alignment. Every row is cols / width chunks of width
// elements, each normed by itself: width == cols norms rows, width == head_dim norms heads. weight,
// bias: [width] f32, or null (1 and 0). REQUIRES: width > 0, cols % width == 0, eps >= 0; a chunk
// of zeros with eps == 0 gives NaN.
//
// squares: [rows, 1] f32, or null: Σ x² of rows of width elements, of which x has some, on ranks
// that have some columns each (square_sum.h). Then a row is one chunk, the mean is squares / width,
// and weight and bias are [cols], those of x's columns. REQUIRES: cols <= width.
//
// Aliasing: y may be x (same data and strides); otherwise they do not overlap.
// Bits: a chunk's results depend on that chunk (or x and squares), weight, bias, eps and the
// instruction set only.
// Threads: one; distinct calls share nothing. Errors: none. Allocates nothing.
// Traffic: weight and bias once (dense weights), x, squares and y once (activations).
// Source: the RMSLayerNorm of OLMo: computed in float32, weight applied after.
#ifndef MNEME_KERNELS_RMS_NORM_RMS_NORM_H_
#define MNEME_KERNELS_RMS_NORM_RMS_NORM_H_

#include "kernels/device/isa.h"
#include "kernels/tensor/tensor.h"
#include "kernels/traffic/traffic.h"

namespace mneme::kernels {

struct RmsNormArgs {
  Matrix<const float> x;  // [rows, cols]
  int64_t width = 0;
  const float* weight = nullptr;  // [width]; with squares [cols]
  const float* bias = nullptr;
  float eps = 0;
  Matrix<const float> squares;  // [rows, 1]
  Matrix<float> y;              // [rows, cols]
};

using RmsNormFn = Traffic (*)(const RmsNormArgs&);

// The definition in plain loops.
Traffic RmsNormReference(const RmsNormArgs& args);

// REQUIRES: isa <= DetectIsa() when the result is called.
RmsNormFn ResolveRmsNorm(Isa isa);

// What any implementation reports for these shapes.
Traffic RmsNormTraffic(const RmsNormArgs& args);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_RMS_NORM_RMS_NORM_H_
