// The tensors of a Hugging Face Mixture-of-Experts checkpoint and the roles they play.
// docs/models.md, §4 Mixture-of-Experts, Tensor names.
#ifndef MNEME_LOADER_FAMILIES_HF_WEIGHTS_H_
#define MNEME_LOADER_FAMILIES_HF_WEIGHTS_H_

#include <string>

#include "absl/status/statusor.h"
#include "loader/checkpoint/stored_tensor.h"
#include "loader/families/family.h"
#include "loader/model/model_description.h"

namespace mneme::loader {

// Finds every weight of `model`; experts one by one or fused, by the names there are, block by
// block. The result's tied_head is false where there is an lm_head.weight. INVALID_ARGUMENT naming
// file and tensor when one is missing, extra, misshapen or of a dtype that is not served. `where`
// names the checkpoint in messages; sources point into `files`.
absl::StatusOr<FamilyModel> MapHfWeights(const ModelDescription& model, const TensorFiles& files,
                                         const std::string& where);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_FAMILIES_HF_WEIGHTS_H_
