// One section of a YAML file: the scalars directly under a top-level key. Read event by event, so
// anchors, aliases and nesting elsewhere in the file cost nothing and build nothing.
#ifndef MNEME_LOADER_FAMILIES_YAML_SECTION_H_
#define MNEME_LOADER_FAMILIES_YAML_SECTION_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "loader/families/config_value.h"

namespace mneme::loader {

// INVALID_ARGUMENT, naming `file` and the line, when `text` is not UTF-8, not YAML, nested too
// deeply or several documents, has no mapping `section`, or repeats one of its keys. An alias of a
// scalar counts as that scalar.
absl::StatusOr<ConfigSection> ReadYamlSection(std::string_view text, const std::string& file,
                                              const std::string& section);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_FAMILIES_YAML_SECTION_H_
