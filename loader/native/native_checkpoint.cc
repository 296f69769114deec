#include "loader/native/native_checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "loader/files/mapped_file.h"
#include "loader/model/model_weights.h"
#include "loader/native/checksum.h"
#include "loader/native/journal.h"
#include "loader/native/native_folder.h"
#include "loader/pack/served_form.h"
#include "loader/safetensors/safetensors.h"
#include "loader/text/text.h"

namespace mneme::loader {
namespace {

// A copied config is checked by its text.
constexpr int64_t kMostConfigBytes = int64_t{16} << 20;

Packing PackingOf(Role role) {
  if (role == Role::kMemoryTable) return Packing::kInterleavedRows;
  return IsStacked(role) ? Packing::kStacked : Packing::kRowMajor;
}

bool Serves(Role role, StoredDType dtype) {
  if (role == Role::kMemoryShuffle) return dtype == StoredDType::kI32;
  if (IsComputed(role) || IsSmall(role)) return dtype == StoredDType::kF32;
  return dtype == StoredDType::kF32 || dtype == StoredDType::kBf16;
}

// Turns the manifest's weights into sources.
class SourceMap {
 public:
  SourceMap(const NativeFiles& files, std::string manifest)
      : files_(files), manifest_(std::move(manifest)) {}

  absl::StatusOr<WeightSources> Map(const std::vector<ManifestWeight>& weights) {
    std::map<std::string, const ManifestWeight*> by_name;
    for (const ManifestWeight& weight : weights) by_name[weight.name] = &weight;
    for (const ManifestWeight& weight : weights) {
      const ManifestWeight& owner = weight.same_as.empty() ? weight : *by_name.at(weight.same_as);
      if (absl::Status status = Add(weight, owner); !status.ok()) return status;
    }
    if (absl::Status status = AddKeysOfNorms(); !status.ok()) return status;
    return std::move(sources_);
  }

 private:
  absl::Status Refuse(const std::string& weight, const std::string& why) const {
    return absl::InvalidArgumentError(
        absl::StrCat(manifest_, ": weight ", Quote(weight), ": ", why));
  }

  // owner: whose tensors they are.
  absl::Status Add(const ManifestWeight& weight, const ManifestWeight& owner) {
    const std::optional<WeightId> id = WeightOfName(weight.name);
    if (!id.has_value()) return Refuse(weight.name, "no model has one of this name");
    if (const Packing due = PackingOf(id->role); weight.packing != due) {
      return Refuse(weight.name,
                    absl::StrCat("is packed ", PackingName(weight.packing), ", this build reads ",
                                 PackingName(due), "; `mneme convert` of the source packs it so"));
    }
    if (!Serves(id->role, weight.dtype)) {
      return Refuse(weight.name,
                    absl::StrCat("dtype ", StoredDTypeName(weight.dtype), " is not served"));
    }
    WeightSource& source = sources_[*id];
    const auto find = [&](const std::string& name) { return &files_.tensors().at(name); };
    if (IsComputed(id->role)) {
      source.computed = find(owner.name);
    } else if (weight.packing == Packing::kStacked) {
      for (const ManifestTensor& tensor : owner.tensors) {
        source.parts.push_back({find(tensor.name), 0, weight.rows, weight.cols});
      }
    } else if (weight.packing == Packing::kInterleavedRows) {
      const StoredTensor* tensor = find(owner.name);
      const int64_t stride = weight.row_stride / StoredDTypeBytes(weight.dtype);
      const auto part = [&](int64_t first, int64_t cols) {
        return WeightSource::Part{tensor, 0, weight.rows, cols, first, stride};
      };
      if (weight.pre_width > 0) source.parts.push_back(part(0, weight.pre_width));
      source.parts.push_back(part(weight.pre_width, weight.width));
    } else {
      source.parts.push_back({find(owner.name), 0, weight.rows, weight.cols});
    }
    return absl::OkStatus();
  }

  // What norms are computed from where keys are served otherwise than they are stored.
  absl::Status AddKeysOfNorms() {
    for (auto& [id, source] : sources_) {
      if (id.role != Role::kMemoryKeyInverseNorm && id.role != Role::kMemoryKeyMean) continue;
      const auto keys = sources_.find({Role::kMemoryKeys, id.layer});
      if (keys == sources_.end()) {
        return Refuse(WeightName({Role::kMemoryKeys, id.layer}), "is missing");
      }
      source.parts = keys->second.parts;
    }
    return absl::OkStatus();
  }

  const NativeFiles& files_;
  const std::string manifest_;
  WeightSources sources_;
};

// The config decides what the weights are for; one that was edited has others.
absl::Status CheckConfig(const std::string& directory, const Manifest& manifest) {
  const std::string path = absl::StrCat(directory, "/", manifest.config);
  const absl::StatusOr<std::string> text = ReadSmallFile(path, kMostConfigBytes);
  if (!text.ok()) return text.status();
  const auto copy = std::find_if(manifest.copies.begin(), manifest.copies.end(),
                                 [&](const auto& file) { return file.name == manifest.config; });
  const std::string hash = ChecksumOf(*text);
  if (copy->bytes == static_cast<int64_t>(text->size()) && copy->hash == hash) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(
      path, ": has ", text->size(), " bytes with hash ", hash, ", the one that was converted had ",
      copy->bytes, " with hash ", copy->hash, "; a changed config is converted anew"));
}

// Tokenizer and defaults of generation are part of what is served; their contents are checked by
// `inspect --verify` alone.
absl::Status CheckCopies(const std::string& directory, const Manifest& manifest) {
  for (const auto& copy : manifest.copies) {
    if (copy.name == manifest.config) continue;
    const std::string path = absl::StrCat(directory, "/", copy.name);
    const absl::StatusOr<OpenFile> file = OpenFile::Open(path);
    if (!file.ok()) {
      return absl::FailedPreconditionError(
          absl::StrCat(std::string(file.status().message()), "; ", kManifestName, " lists it with ",
                       copy.bytes, " bytes, and the same `mneme convert` again copies it"));
    }
    if (file->bytes() == copy.bytes) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        path, ": has ", file->bytes(), " bytes, the one that was converted had ", copy.bytes));
  }
  return absl::OkStatus();
}

}  // namespace

bool IsNative(const std::string& directory) { return HasNativeManifest(directory); }

absl::StatusOr<NativeCheckpoint> OpenNative(const std::string& directory) {
  absl::StatusOr<Manifest> manifest = Manifest::Read(directory);
  if (!manifest.ok()) return manifest.status();
  if (absl::Status status = CheckConfig(directory, *manifest); !status.ok()) return status;
  if (absl::Status status = CheckCopies(directory, *manifest); !status.ok()) return status;
  auto files = NativeFiles::Open(directory, *manifest);
  if (!files.ok()) return files.status();
  absl::StatusOr<WeightSources> weights =
      SourceMap(**files, absl::StrCat(directory, "/", kManifestName)).Map(manifest->weights);
  if (!weights.ok()) return weights.status();
  return NativeCheckpoint{*std::move(manifest), *std::move(files), *std::move(weights)};
}

absl::Status CheckWeights(const std::string& directory, const Manifest& manifest,
                          const ModelDescription& model) {
  const auto refuse = [&](const std::string& weight, const std::string& why) {
    return absl::InvalidArgumentError(
        absl::StrCat(directory, "/", kManifestName, ": weight ", Quote(weight), ": ", why));
  };
  std::map<std::string, const ManifestWeight*> has;
  for (const ManifestWeight& weight : manifest.weights) has[weight.name] = &weight;
  for (const auto& [id, due] : ModelWeights(model)) {
    const std::string name = WeightName(id);
    const auto found = has.find(name);
    if (found == has.end()) {
      return refuse(
          name, absl::StrCat("is missing; by ", manifest.config, " it is ", WeightShapeText(due)));
    }
    const ManifestWeight& weight = *found->second;
    const bool table = weight.packing == Packing::kInterleavedRows;
    const WeightShape shape{.rows = weight.rows,
                            .cols = table ? weight.width : weight.cols,
                            .stack = weight.stack,
                            .pre_cols = weight.pre_width};
    if (shape != due) {
      return refuse(name, absl::StrCat("is ", WeightShapeText(shape), ", by ", manifest.config, " ",
                                       WeightShapeText(due)));
    }
    has.erase(found);
  }
  if (has.empty()) return absl::OkStatus();
  return refuse(has.begin()->first, absl::StrCat("the model that ", manifest.config,
                                                 " describes has none of this name"));
}

absl::Status CheckUnfinished(const std::string& directory) {
  const auto refuse = [&directory](const std::string& found, const char* what) {
    return absl::FailedPreconditionError(
        absl::StrCat(directory, ": has ", found, ", but no ", kManifestName, ": ", what));
  };
  if (FileExists(absl::StrCat(directory, "/", kJournalName))) {
    return refuse(kJournalName,
                  "a conversion has not come to its end; the same `mneme convert` again ends it");
  }
  // Other folders have files called like shards; what is in the first tells whose they are.
  std::string first;
  std::error_code error;
  // Not a range's for: its step throws where a folder cannot be read to its end.
  for (std::filesystem::directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    const bool shard = name.starts_with("model-") && name.ends_with(".safetensors");
    if (shard && (first.empty() || name < first)) first = name;
  }
  if (first.empty()) return absl::OkStatus();
  const auto file = SafetensorsFile::Open(absl::StrCat(directory, "/", first));
  if (!file.ok()) return absl::OkStatus();  // whoever needs it says what is wrong with it
  const auto format = (*file)->metadata().find("format");
  const bool native = format != (*file)->metadata().end() && format->second == "mneme";
  if (!native) return absl::OkStatus();
  return refuse(absl::StrCat("the shard ", first),
                "nothing says what its shards hold; remove the folder and convert anew");
}

}  // namespace mneme::loader
