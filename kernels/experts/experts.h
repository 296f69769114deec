// The feed-forward networks of a Mixture-of-Experts, of the tokens that chose them:
//
//   y[t,:] = Σ over j with expert[t,j] in [first, first + weights.size()), in ascending j, of
//            weight[t,j] · down_e (up_e x[t,:] · silu(gate_e x[t,:])),  e = expert[t,j]
//
// x: [tokens, dim] f32. expert: [tokens, top_k] i32, each row distinct and ascending; weight:
// [tokens, top_k] f32. weights: of experts first, first + 1, …; of each gate and up [hidden, dim]
// and down [dim, hidden], f32 or bf16, any row strides, any alignment (64-byte aligned rows are
// fastest), anywhere in memory. y: [tokens, dim] f32, overwritten; zero where a token chose no
// expert of these. Slices are views: some of the experts give a partial sum, and so do some rows of
// every gate and up with the same columns of every down.
//
// Tokens are grouped by expert: each active expert's weights are read once per call, however many
// tokens chose it, those of others never (they need not even be there).
// token_bytes: [tokens] or null; an expert that u tokens chose adds its bytes/u to each of them.
// scratch: ExpertsScratchBytes() bytes, 64-byte aligned. Aliasing: y overlaps nothing.
// Bits: a token's output depends on its row of x, its experts and weights, and the instruction set,
// never on other tokens: linear and activation say so of their parts, and the sum over experts adds
// by MulAdd in ascending order.
// Threads: calls with different y and scratch may run at once. Errors: none. Allocates nothing.
// REQUIRES: weights of one shape; tokens · top_k < 2^31.
// Traffic: weights of the active experts once (expert weights); x, expert and weight once, y once
// (activations).
// Source: transformers, the expert layers of OLMoE, Mixtral, Qwen2-MoE and Qwen3-MoE.
#ifndef MNEME_KERNELS_EXPERTS_EXPERTS_H_
#define MNEME_KERNELS_EXPERTS_EXPERTS_H_

#include <cstdint>
#include <span>

#include "kernels/device/isa.h"
#include "kernels/tensor/tensor.h"
#include "kernels/traffic/traffic.h"

namespace mneme::kernels {

struct ExpertWeights {
  TensorView gate;  // [hidden, dim]
  TensorView up;    // [hidden, dim]
  TensorView down;  // [dim, hidden]

  int64_t bytes() const { return gate.bytes() + up.bytes() + down.bytes(); }
};

struct ExpertsArgs {
  Matrix<const float> x;                   // [tokens, dim]
  Matrix<const int32_t> expert;            // [tokens, top_k]
  Matrix<const float> weight;              // [tokens, top_k]
  std::span<const ExpertWeights> weights;  // of experts [first, first + weights.size())
  int32_t first = 0;
  Matrix<float> y;  // [tokens, dim]
  uint8_t* scratch = nullptr;
  double* token_bytes = nullptr;  // [tokens], added to
};

using ExpertsFn = Traffic (*)(const ExpertsArgs&);

// What a call of up to `tokens` tokens needs.
struct ExpertsShape {
  int64_t tokens = 0;
  int64_t top_k = 0;
  int64_t dim = 0;
  int64_t hidden = 0;
  int64_t experts = 0;
};
int64_t ExpertsScratchBytes(const ExpertsShape& shape);

// The definition in plain loops. Needs no scratch.
Traffic ExpertsReference(const ExpertsArgs& args);

// For weights of either type. REQUIRES: isa <= DetectIsa() when the result is called.
ExpertsFn ResolveExperts(Isa isa);

// What any implementation reports, given how many of the experts some token chose.
Traffic ExpertsTraffic(const ExpertsArgs& args, int64_t active);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_EXPERTS_EXPERTS_H_
