// What the members of a manifest say of each other.
#ifndef MNEME_LOADER_NATIVE_MANIFEST_CHECK_H_
#define MNEME_LOADER_NATIVE_MANIFEST_CHECK_H_

#include <string>

#include "absl/status/status.h"
#include "loader/native/manifest.h"

namespace mneme::loader {

// INVALID_ARGUMENT as Manifest::Parse has it, for whatever can be seen without the folder.
// REQUIRES: each member by itself is one that Parse reads, with sizes of at most 2^56.
absl::Status CheckManifest(const Manifest& manifest, const std::string& file);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_NATIVE_MANIFEST_CHECK_H_
