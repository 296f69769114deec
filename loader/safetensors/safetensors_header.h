// The header of a safetensors file: eight bytes of length (little-endian), that many bytes of JSON,
// then the tensors' bytes without a gap. Format: the safetensors library's README, "Format".
//
// Bounded: time linear in the header (n log n in its tensors), memory a small multiple of it, which
// is at most kMaxHeaderBytes. Nothing outside `file` is read and nothing in it is trusted.
#ifndef MNEME_LOADER_SAFETENSORS_SAFETENSORS_HEADER_H_
#define MNEME_LOADER_SAFETENSORS_SAFETENSORS_HEADER_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "loader/checkpoint/stored_tensor.h"

namespace mneme::loader {

// The reference library's limit.
inline constexpr int64_t kMaxHeaderBytes = 100'000'000;
// Ours: the largest published models have fewer than 100,000 tensors, of five dimensions.
inline constexpr int64_t kMaxTensors = 262'144;
inline constexpr int64_t kMaxDimensions = 64;
inline constexpr int64_t kMaxMetadata = 65'536;  // published files have a handful of entries

struct SafetensorsHeader {
  std::map<std::string, StoredTensor> tensors;  // bytes point into the parsed file
  std::map<std::string, std::string> metadata;
};

// Parses and checks a whole file; `name` is what messages call it. INVALID_ARGUMENT naming file,
// tensor and values when the file is not exactly as the format wants it: every byte after the
// header belongs to one tensor, each tensor has as many bytes as its shape and dtype say, names are
// unique. `file` must outlive the result.
absl::StatusOr<SafetensorsHeader> ParseSafetensors(std::span<const uint8_t> file,
                                                   const std::string& name);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_SAFETENSORS_SAFETENSORS_HEADER_H_
