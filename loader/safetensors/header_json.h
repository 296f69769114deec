// The JSON of a safetensors header, read event by event, so that duplicate names and numbers of the
// wrong kind are seen (a parsed tree would hide both) and nothing but the entries is kept.
#ifndef MNEME_LOADER_SAFETENSORS_HEADER_JSON_H_
#define MNEME_LOADER_SAFETENSORS_HEADER_JSON_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace mneme::loader {

// One tensor's entry, as written; not yet checked against the file.
struct HeaderEntry {
  std::string dtype;
  std::vector<int64_t> shape;
  int64_t begin = 0;
  int64_t end = 0;
};

// Fills `entries` and `metadata` from `json`. INVALID_ARGUMENT, without the file's name, for text
// that is not JSON, is nested otherwise than a header is, lacks or repeats a field, or has numbers
// that are negative, fractional or too large.
absl::Status ParseHeaderJson(std::string_view json, std::map<std::string, HeaderEntry>* entries,
                             std::map<std::string, std::string>* metadata);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_SAFETENSORS_HEADER_JSON_H_
