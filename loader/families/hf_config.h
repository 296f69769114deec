// The config.json of a Hugging Face Mixture-of-Experts checkpoint: OLMoE, Mixtral, Qwen2-MoE and
// Qwen3-MoE. docs/models.md, §4 Mixture-of-Experts, defines every key.
#ifndef MNEME_LOADER_FAMILIES_HF_CONFIG_H_
#define MNEME_LOADER_FAMILIES_HF_CONFIG_H_

#include <set>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "loader/model/model_description.h"

namespace mneme::loader {

// The model that the config describes; whether it has a head of its own is for the tensors to say
// (hf_weights.h): tied_head is the config's tie_word_embeddings. Keys that are known to change no
// arithmetic are accepted, and those in `ignored` ("KEY", or "rope_scaling.KEY").
// INVALID_ARGUMENT naming file, key and value for what is malformed, impossible, unknown or not
// served, and for an ignored key that is read.
absl::StatusOr<ModelDescription> ParseHfConfig(std::string_view text, const std::string& file,
                                               const std::set<std::string>& ignored);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_FAMILIES_HF_CONFIG_H_
