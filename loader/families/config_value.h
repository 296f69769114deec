// The values of one section of a config file, whatever its format (YAML, JSON).
#ifndef MNEME_LOADER_FAMILIES_CONFIG_VALUE_H_
#define MNEME_LOADER_FAMILIES_CONFIG_VALUE_H_

#include <map>
#include <string>
#include <vector>

namespace mneme::loader {

struct ConfigValue {
  enum class Kind {
    kScalar,  // a number or a truth value; in YAML also a text
    kText,    // a JSON string: no number, whatever it spells
    kNull,
    kList,        // of scalars and texts: `items`
    kCollection,  // anything else
  };
  Kind kind = Kind::kNull;
  std::string text;  // of a scalar or text, unquoted
  int line = 0;      // from 1; 0: not known
  std::vector<ConfigValue> items = {};
};

using ConfigSection = std::map<std::string, ConfigValue>;

}  // namespace mneme::loader

#endif  // MNEME_LOADER_FAMILIES_CONFIG_VALUE_H_
