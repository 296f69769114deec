#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "loader/native/convert.h"
#include "loader/native/native_folder.h"

namespace mneme::loader {
namespace {

// The nearest folder that is there, resolved, and the rest of the path behind it.
absl::StatusOr<std::filesystem::path> Resolve(const std::string& path) {
  std::error_code error;
  std::filesystem::path resolved = std::filesystem::weakly_canonical(path, error);
  if (!error) resolved = std::filesystem::absolute(resolved, error);
  if (error) return absl::InvalidArgumentError(absl::StrCat(path, ": ", error.message()));
  // "a/" ends in an empty element.
  return resolved.has_filename() ? resolved : resolved.parent_path();
}

}  // namespace

absl::Status CheckConvertFolders(const std::string& source, const std::string& out) {
  const absl::StatusOr<std::filesystem::path> from = Resolve(source);
  if (!from.ok()) return from.status();
  const absl::StatusOr<std::filesystem::path> to = Resolve(out);
  if (!to.ok()) return to.status();
  const auto ends = std::mismatch(from->begin(), from->end(), to->begin(), to->end());
  if (ends.first == from->end()) {
    return absl::InvalidArgumentError(
        absl::StrCat(out, ": is ", ends.second == to->end() ? "" : "inside ", "the source folder ",
                     source, "; convert into a folder of its own"));
  }
  if (HasNativeManifest(source)) {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ": has a ", kManifestName, ": it is a native checkpoint already"));
  }
  return absl::OkStatus();
}

}  // namespace mneme::loader
