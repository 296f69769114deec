// Rotary position embedding, in place: in every head of head_dim = 2·half elements,
//   x_i, x_(i+half)  ->  x_i·c_i − x_(i+half)·s_i,  x_(i+half)·c_i + x_i·s_i     for 0 <= i < half,
// where c = cos[positions[t],:] and s = sin[positions[t],:].
//
// x: [tokens, heads·head_dim] f32, any row stride. cos, sin: [max_position, half] f32, any row
// stride. REQUIRES: head_dim even and > 0, x.cols % head_dim == 0, positions.size() == x.rows,
// 0 <= positions[t] < cos.rows.
//
// Aliasing: the tables and positions do not overlap x.
// Bits: a token's results depend on that token, its position and the instruction set only.
// Threads: one; distinct calls share nothing. Errors: none. Allocates nothing.
// Traffic: a row of both tables per token (dense weights), x read and written (activations).
// Source: the "rotate half" form of OLMo and Llama.
#ifndef MNEME_KERNELS_ROPE_ROPE_H_
#define MNEME_KERNELS_ROPE_ROPE_H_

#include <span>
#include <vector>

#include "kernels/device/isa.h"
#include "kernels/tensor/tensor.h"
#include "kernels/traffic/traffic.h"

namespace mneme::kernels {

struct RopeArgs {
  Matrix<float> x;  // [tokens, heads * head_dim]
  int64_t head_dim = 0;
  std::span<const int32_t> positions;  // [tokens]
  Matrix<const float> cos;             // [max_position, head_dim / 2]
  Matrix<const float> sin;             // [max_position, head_dim / 2]
};

using RopeFn = Traffic (*)(const RopeArgs&);

// The definition in plain loops.
Traffic RopeReference(const RopeArgs& args);

// REQUIRES: isa <= DetectIsa() when the result is called.
RopeFn ResolveRope(Isa isa);

// What any implementation reports for these shapes.
Traffic RopeTraffic(const RopeArgs& args);

// f_i = theta^(−2i / head_dim), 0 <= i < head_dim / 2, in float32 as the trainers have them.
std::vector<float> RopeFrequencies(float theta, int64_t head_dim);

// Rows of a table.
struct RopePositions {
  int64_t first = 0;
  int64_t count = 0;
};

// Fills cos and sin, both [positions.count, frequencies.size()] without gaps: scale times the
// cosine and the sine of p·f_i for p = first, first + 1, …, the angle rounded to float32 as the
// trainers have it.
void FillRopeTables(std::span<const float> frequencies, float scale, RopePositions positions,
                    float* cos, float* sin);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_ROPE_ROPE_H_
