// Which experts a token goes to, and with what weights.
//
// The top_k experts of token t are those of its greatest logits, ties by the lower id. With E the
// chosen ones in ascending order of id:
//   expert[t,j] = E_j
//   weight[t,j] = exp(logit[t,E_j]) / Σ exp(logit[t,e])
// where e runs over all experts, or, if renormalise, over the chosen ones. The softmax over all
// whose chosen entries are divided by their sum (norm_topk_prob) and the softmax over the chosen
// logits (Mixtral) are both the second. Ascending ids, so that a token's sum over its experts has
// one order however tokens are grouped.
//
// logits: [tokens, experts] f32. expert: [tokens, top_k] i32; weight: [tokens, top_k] f32. Any row
// strides, any alignment. Aliasing: outputs overlap nothing. A NaN logit is chosen last, as −inf
// is; ids are distinct and in range whatever the logits are. Bits: a token's outputs depend on its
// own logits and the instruction set only. Threads: one; distinct calls share nothing. Errors:
// none. Allocates nothing. REQUIRES: 1 <= top_k <= experts <= kRouterMostExperts.
// Traffic: logits once, expert and weight once (activations).
// Source: transformers, the routers of OLMoE, Qwen2-MoE, Qwen3-MoE and Mixtral.
#ifndef MNEME_KERNELS_ROUTER_ROUTER_H_
#define MNEME_KERNELS_ROUTER_ROUTER_H_

#include <cstdint>

#include "kernels/device/isa.h"
#include "kernels/tensor/tensor.h"
#include "kernels/traffic/traffic.h"

namespace mneme::kernels {

// A token's logits are copied to the stack.
inline constexpr int32_t kRouterMostExperts = 1024;

struct RouterArgs {
  Matrix<const float> logits;  // [tokens, experts]
  bool renormalise = false;
  Matrix<int32_t> expert;  // [tokens, top_k]
  Matrix<float> weight;    // [tokens, top_k]
};

using RouterFn = Traffic (*)(const RouterArgs&);

// The definition in plain loops.
Traffic RouterReference(const RouterArgs& args);

// REQUIRES: isa <= DetectIsa() when the result is called.
RouterFn ResolveRouter(Isa isa);

// What any implementation reports for these shapes.
Traffic RouterTraffic(const RouterArgs& args);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_ROUTER_ROUTER_H_
