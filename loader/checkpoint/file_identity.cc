#include "loader/checkpoint/file_identity.h"

#include <xxhash.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "loader/files/mapped_file.h"

namespace mneme::loader {
namespace {

constexpr int64_t kMostTextBytes = int64_t{100} << 20;  // of a manifest

std::string Hash(const std::string& bytes) {
  return absl::StrCat(absl::Hex(XXH3_64bits(bytes.data(), bytes.size()), absl::kZeroPad16));
}

// By its name: what is compared may be another process's.
bool IsText(const std::string& name) { return name.ends_with(".yaml") || name.ends_with(".json"); }

std::string BaseName(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

}  // namespace

absl::StatusOr<std::vector<FileIdentity>> IdentifyFiles(const Checkpoint& checkpoint) {
  std::vector<FileIdentity> files;
  for (const std::string& name : checkpoint.texts) {
    const absl::StatusOr<std::string> text =
        ReadSmallFile(absl::StrCat(checkpoint.directory, "/", name), kMostTextBytes);
    if (!text.ok()) return text.status();
    files.push_back({name, static_cast<int64_t>(text->size()), Hash(*text)});
  }
  std::map<std::string, std::string> headers;  // by path
  for (const auto& [name, tensor] : checkpoint.files->tensors()) {
    absl::StrAppend(&headers[tensor.file], name, " ", tensor.Describe(), " at ", tensor.place,
                    "\n");
  }
  for (const auto& [path, header] : headers) {
    std::error_code error;
    const auto bytes = std::filesystem::file_size(path, error);
    if (error) return absl::NotFoundError(absl::StrCat(path, ": ", error.message()));
    files.push_back({BaseName(path), static_cast<int64_t>(bytes), Hash(header)});
  }
  return files;
}

std::string FileDifference(const std::vector<FileIdentity>& here,
                           const std::vector<FileIdentity>& there) {
  for (const FileIdentity& mine : here) {
    const auto theirs = std::find_if(there.begin(), there.end(),
                                     [&](const FileIdentity& f) { return f.name == mine.name; });
    if (theirs == there.end()) return absl::StrCat(mine.name, ": is here, not there");
    if (theirs->bytes != mine.bytes) {
      return absl::StrCat(mine.name, ": ", mine.bytes, " bytes here, ", theirs->bytes,
                          " bytes there");
    }
    if (theirs->hash != mine.hash) {
      return absl::StrCat(mine.name, ": its ", IsText(mine.name) ? "text" : "header", " has hash ",
                          mine.hash, " here, ", theirs->hash, " there");
    }
  }
  for (const FileIdentity& theirs : there) {
    if (std::none_of(here.begin(), here.end(),
                     [&](const FileIdentity& f) { return f.name == theirs.name; })) {
      return absl::StrCat(theirs.name, ": is there, not here");
    }
  }
  return "";
}

}  // namespace mneme::loader
