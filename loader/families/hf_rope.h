// The rotary positions of a Hugging Face config: `rope_theta`, `rope_scaling` or `rope_parameters`.
// docs/models.md, §4 Mixture-of-Experts, RoPE.
#ifndef MNEME_LOADER_FAMILIES_HF_ROPE_H_
#define MNEME_LOADER_FAMILIES_HF_ROPE_H_

#include <set>
#include <string>

#include "absl/status/status.h"
#include "loader/families/config_fields.h"
#include "loader/families/json_config.h"
#include "loader/model/model_description.h"

namespace mneme::loader {

// Reads them into model->attention.rope; theta: where none is stated. Types served: default,
// linear, llama3, yarn. A key that none of them has is refused unless `ignored` has
// "rope_scaling.KEY". Errors of keys at the top level are recorded in `top`, those inside returned.
// REQUIRES: head_dim and max_sequence_length have been read.
absl::Status ReadHfRope(const std::string& file, const JsonConfig& config, double theta,
                        const std::set<std::string>& ignored, ConfigFields& top,
                        ModelDescription* model);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_FAMILIES_HF_ROPE_H_
