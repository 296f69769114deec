// The tensors of an OLMo training checkpoint and the roles they play.
#ifndef MNEME_LOADER_FAMILIES_OLMO_WEIGHTS_H_
#define MNEME_LOADER_FAMILIES_OLMO_WEIGHTS_H_

#include <string>

#include "absl/status/statusor.h"
#include "loader/checkpoint/stored_tensor.h"
#include "loader/checkpoint/weight_source.h"
#include "loader/families/olmo_config.h"
#include "loader/families/tensor_matcher.h"

namespace mneme::loader {

// Finds every weight of the model. INVALID_ARGUMENT naming file and tensor when one is missing,
// extra, misshapen or of a dtype that is not served, or when a memory layer was never trained.
// `where` names the checkpoint in messages; sources point into `files`.
absl::StatusOr<WeightSources> MapOlmoWeights(const OlmoConfig& config, const TensorFiles& files,
                                             const std::string& where);

// The memory layers' part of it.
void MapOlmoMemory(const ModelDescription& model, TensorMatcher& matcher);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_FAMILIES_OLMO_WEIGHTS_H_
