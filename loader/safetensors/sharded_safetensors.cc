#include "loader/safetensors/sharded_safetensors.h"

#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "loader/files/file_name.h"
#include "loader/files/mapped_file.h"
#include "loader/json/json_document.h"
#include "loader/text/text.h"

namespace mneme::loader {
namespace {

namespace fs = std::filesystem;

// A hundred thousand tensors with long names take a tenth of it.
constexpr int64_t kMaxIndexBytes = int64_t{128} << 20;

// Where files that an index lists may lie: in its folder, or where the index itself really lies (a
// cache whose folders hold nothing but links keeps all files in one place).
class Places {
 public:
  Places(std::string index, std::string directory)
      : index_(std::move(index)), directory_(std::move(directory)) {
    std::error_code error;  // then the path is empty, and no file's
    folders_[0] = fs::canonical(directory_, error);
    folders_[1] = fs::canonical(index_, error).parent_path();
  }

  // The file is resolved once, and what is opened is what was checked: a name that leads elsewhere
  // a moment later changes nothing.
  absl::StatusOr<OpenFile> Open(const std::string& name) const {
    std::error_code error;
    const fs::path real = fs::canonical(fs::path(directory_) / name, error);
    if (error) {
      return absl::NotFoundError(absl::StrCat(index_, ": lists ", Quote(name),
                                              ", which cannot be read: ", error.message()));
    }
    if (real.parent_path() != folders_[0] && real.parent_path() != folders_[1]) {
      return absl::InvalidArgumentError(
          absl::StrCat(index_, ": lists ", Quote(name), ", a link out of the folder, to ",
                       Quote(real.string()), "; copy the file in its place"));
    }
    return OpenFile::Open(real.string(), OpenFile::Link::kRefuse);
  }

 private:
  const std::string index_;
  const std::string directory_;
  fs::path folders_[2];
};

}  // namespace

absl::StatusOr<std::map<std::string, std::string>> ParseSafetensorsIndex(std::string_view text,
                                                                         const std::string& file) {
  const auto refuse = [&file](const std::string& why) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": ", why));
  };
  const absl::StatusOr<JsonDocument> document = JsonDocument::Parse(text, file);
  if (!document.ok()) return document.status();
  const JsonValue root = document->root();
  if (root.kind() != JsonKind::kObject) return refuse("expected an object");
  const JsonValue entries = root.Find("weight_map");
  if (!entries.exists() || entries.kind() != JsonKind::kObject) {
    return refuse("weight_map: expected an object from tensor to file");
  }
  std::map<std::string, std::string> places;
  for (JsonValue entry = entries.first(); entry.exists(); entry = entry.next()) {
    if (entry.kind() != JsonKind::kString) {
      return refuse(absl::StrCat("weight_map: ", Quote(entry.name()), ": expected a file's name"));
    }
    const std::string name(entry.string());
    if (!IsEntryName(name)) {
      return refuse(absl::StrCat("weight_map: ", Quote(entry.name()), ": ", Quote(name),
                                 " is not the plain name of a file in this folder"));
    }
    places.emplace(std::string(entry.name()), name);
  }
  if (places.empty()) return refuse("weight_map: is empty");
  return places;
}

absl::StatusOr<std::shared_ptr<const ShardedSafetensors>> ShardedSafetensors::Open(
    const std::string& directory) {
  const std::string index = absl::StrCat(directory, "/", kIndexFile);
  const absl::StatusOr<std::string> text = ReadSmallFile(index, kMaxIndexBytes);
  if (!text.ok()) return text.status();
  const auto places = ParseSafetensorsIndex(*text, index);
  if (!places.ok()) return places.status();
  std::set<std::string> names;
  for (const auto& [tensor, name] : *places) names.insert(name);
  std::shared_ptr<ShardedSafetensors> files(new ShardedSafetensors);
  const Places where(index, directory);
  for (const std::string& name : names) {
    const absl::StatusOr<OpenFile> file = where.Open(name);
    if (!file.ok()) return file.status();
    auto shard = SafetensorsFile::Open(*file, absl::StrCat(directory, "/", name));
    if (!shard.ok()) return shard.status();
    if (absl::Status s = files->Add(index, name, *std::move(shard), *places); !s.ok()) return s;
  }
  for (const auto& [tensor, name] : *places) {
    if (files->tensors_.contains(tensor)) continue;
    return absl::InvalidArgumentError(absl::StrCat(index, ": has ", Quote(tensor), " in ",
                                                   Quote(name), ", which does not hold it"));
  }
  return files;
}

absl::Status ShardedSafetensors::Add(const std::string& index, const std::string& name,
                                     std::shared_ptr<const SafetensorsFile> shard,
                                     const std::map<std::string, std::string>& places) {
  for (const auto& [tensor, stored] : shard->tensors()) {
    const auto place = places.find(tensor);
    if (place == places.end()) {
      return absl::InvalidArgumentError(absl::StrCat(stored.file, ": holds ", Quote(tensor),
                                                     ", which ", index, " does not list"));
    }
    if (place->second != name) {
      return absl::InvalidArgumentError(absl::StrCat(stored.file, ": holds ", Quote(tensor),
                                                     ", which ", index, " has in ",
                                                     Quote(place->second)));
    }
    tensors_.emplace(tensor, stored);
  }
  shards_.emplace(name, std::move(shard));
  return absl::OkStatus();
}

int64_t ShardedSafetensors::file_bytes() const {
  int64_t bytes = 0;
  for (const auto& [name, shard] : shards_) bytes += shard->file_bytes();
  return bytes;
}

void ShardedSafetensors::DropPages(std::span<const uint8_t> part) const {
  for (const auto& [name, shard] : shards_) shard->DropPages(part);
}

std::vector<FileState> ShardedSafetensors::states() const {
  std::vector<FileState> states;
  for (const auto& [name, shard] : shards_) states.push_back(shard->states()[0]);
  return states;
}

}  // namespace mneme::loader
