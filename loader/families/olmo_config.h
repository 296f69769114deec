// The config of an OLMo training checkpoint (config.yaml, settings under `model:`), with or without
// UltraMemV2, UltraMem or Memory+ layers. docs/models.md, §1 Base transformer and §2 Memory layers,
// defines every setting.
#ifndef MNEME_LOADER_FAMILIES_OLMO_CONFIG_H_
#define MNEME_LOADER_FAMILIES_OLMO_CONFIG_H_

#include <set>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "loader/families/config_fields.h"
#include "loader/model/model_description.h"

namespace mneme::loader {

struct OlmoConfig {
  ModelDescription model;
  // q, k and v are one tensor att_proj (block_type sequential) or three (llama).
  bool fused_qkv = true;
};

// INVALID_ARGUMENT naming file, field, line and value for what is malformed, impossible, unknown
// (unless it is among `ignored`) or not served, and for an ignored setting that is read.
absl::StatusOr<OlmoConfig> ParseOlmoConfig(std::string_view text, const std::string& file,
                                           const std::set<std::string>& ignored = {});

// The memory layers of `model`, whose other fields have been read; `affine_norms` is
// attention_layer_norm_with_affine. Returns false when the model has none. Errors are recorded in
// `fields`. (A part of ParseOlmoConfig.)
bool ReadOlmoMemory(bool affine_norms, ConfigFields& fields, ModelDescription& model);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_FAMILIES_OLMO_CONFIG_H_
