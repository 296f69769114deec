// Small Mixture-of-Experts models that are only described (their weights are generated), and what
// they compute, written down a second time: plain loops in double, nothing of the engine's.
#ifndef MNEME_TESTS_MODEL_MOE_CASE_H_
#define MNEME_TESTS_MODEL_MOE_CASE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "loader/model/model_description.h"
#include "loader/pack/packed_weights.h"

namespace mneme::testing {

struct MoeCase {
  std::string name;
  loader::ModelDescription model;
};

// "wide": OLMoE with experts wide enough to be split inside; "narrow": with experts that are not,
// so that ranks have some of them; "few": neither pays, and on more than two ranks neither can be;
// "mixtral": weights of a softmax over the chosen, grouped key-value heads, no q and k norm,
// windows of keys; "qwen2": with a shared expert and biases of q, k and v, the block between with
// an FFN instead.
const std::vector<MoeCase>& MoeCases();
const MoeCase& MoeCaseOf(const std::string& name);

struct PlainOutputs {
  std::vector<std::vector<double>> logits;  // by token
  // By block and token, ascending; of a block without experts empty.
  std::vector<std::vector<std::vector<int32_t>>> experts;
  double least_gap = 0;  // between the last chosen router logit and the next, over all
};

// A sequence of tokens from position 0 on. REQUIRES: an RMS-normed pre-norm model with experts, as
// the cases are.
PlainOutputs RunPlainly(const loader::ModelDescription& model, const loader::PackedWeights& weights,
                        const std::vector<int32_t>& tokens);

}  // namespace mneme::testing

#endif  // MNEME_TESTS_MODEL_MOE_CASE_H_
