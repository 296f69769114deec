// The OLMo training format: `config.yaml` (settings under `model:`) and the state dict as
// `model.safetensors` or `model.pt`, with or without UltraMemV2, UltraMem or Memory+ layers.
// docs/models.md, §1 Base transformer and §2 Memory layers.
#ifndef MNEME_LOADER_FAMILIES_OLMO_H_
#define MNEME_LOADER_FAMILIES_OLMO_H_

#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "loader/checkpoint/stored_tensor.h"
#include "loader/families/family.h"
#include "loader/families/olmo_config.h"

namespace mneme::loader {

// Reads and checks `path` (a config.yaml of at most 4 MB); ignored: as ParseOlmoConfig has it.
absl::StatusOr<OlmoConfig> ReadOlmoConfig(const std::string& path,
                                          const std::set<std::string>& ignored = {});

// Matches the config with the tensors; `where` names them in messages. `files` must outlive the
// result.
absl::StatusOr<FamilyModel> InspectOlmo(const OlmoConfig& config, const TensorFiles& files,
                                        const std::string& where);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_FAMILIES_OLMO_H_
