// A Hugging Face JSON config: its values, and those of the objects in it.
#ifndef MNEME_LOADER_FAMILIES_JSON_CONFIG_H_
#define MNEME_LOADER_FAMILIES_JSON_CONFIG_H_

#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "loader/families/config_value.h"

namespace mneme::loader {

struct JsonConfig {
  ConfigSection values;  // an object among them counts as a collection
  std::map<std::string, ConfigSection> objects;
};

// INVALID_ARGUMENT naming `file` when `text` is not JSON (loader/json) or no object.
absl::StatusOr<JsonConfig> ReadJsonConfig(std::string_view text, const std::string& file);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_FAMILIES_JSON_CONFIG_H_
