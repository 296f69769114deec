#include "loader/native/native_folder.h"

#include <string_view>

#include "loader/files/mapped_file.h"
#include "loader/json/json_document.h"
#include "loader/native/manifest.h"

namespace mneme::loader {
namespace {

// How Manifest::Print begins: then nothing has to be parsed, which a manifest of many megabytes
// would be twice.
bool BeginsAsPrinted(std::string_view text) {
  return text.starts_with("{\n  \"format\": \"mneme\",");
}

}  // namespace

bool HasNativeManifest(const std::string& directory) {
  const std::string path = directory + "/" + kManifestName;
  if (!FileExists(path)) return false;
  const auto text = ReadSmallFile(path, kMostManifestBytes);
  if (!text.ok() || BeginsAsPrinted(*text)) return true;
  const absl::StatusOr<JsonDocument> document = JsonDocument::Parse(*text, path);
  if (!document.ok()) return true;
  if (document->root().kind() != JsonKind::kObject) return false;
  const JsonValue format = document->root().Find("format");
  return format.exists() && format.kind() == JsonKind::kString && format.string() == "mneme";
}

}  // namespace mneme::loader
