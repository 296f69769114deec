#include "loader/native/conversion_source.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "loader/checkpoint/file_identity.h"
#include "loader/files/mapped_file.h"
#include "loader/native/checksum.h"
#include "loader/native/json_members.h"
#include "loader/text/text.h"

namespace mneme::loader {
namespace {

using native_internal::kMostKeyBytes;
using native_internal::kMostListed;

// Besides the config, where they are there.
constexpr const char* kCopiedNames[] = {"generation_config.json", "tokenizer.json"};

std::string BaseName(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

void AddSamples(const StoredTensor& tensor, int64_t samples, Checksum* checksum) {
  const auto bytes = static_cast<int64_t>(tensor.bytes.size());
  if (bytes <= samples * kSampleBytes) return checksum->Add(tensor.bytes);
  for (int64_t i = 0; i < samples; ++i) {
    const int64_t last = bytes - kSampleBytes;
    // With one sample the last bytes: the first of many tensors are alike.
    const int64_t at = samples == 1 ? last : last * i / (samples - 1);
    checksum->Add(tensor.bytes.subspan(static_cast<size_t>(at), kSampleBytes));
  }
}

// By name of file. The tensors are in the order of their names, whatever it is in the files.
std::map<std::string, std::string> HashSamples(const TensorFiles& files) {
  const auto count = static_cast<int64_t>(files.tensors().size());
  const int64_t samples =
      std::clamp<int64_t>(kMostSamples / std::max<int64_t>(1, count), 1, kMostSamplesOfTensor);
  std::map<std::string, Checksum> checksums;  // by path
  for (const auto& [name, tensor] : files.tensors()) {
    AddSamples(tensor, samples, &checksums[tensor.file]);
    files.DropPages(tensor.bytes);
  }
  std::map<std::string, std::string> hashes;
  for (auto& [path, checksum] : checksums) hashes[BaseName(path)] = checksum.Take();
  return hashes;
}

// What a manifest can say; no key of a config is empty, or as long.
absl::Status CheckIgnoredKeys(const std::set<std::string>& keys) {
  if (static_cast<int64_t>(keys.size()) > kMostListed) {
    return absl::InvalidArgumentError(absl::StrCat(
        keys.size(), " config keys are to be ignored; at most ", kMostListed, " can be"));
  }
  for (const std::string& key : keys) {
    if (key.empty() || key.size() > kMostKeyBytes || FirstInvalidUtf8(key) >= 0) {
      return absl::InvalidArgumentError(absl::StrCat("the config key ", Quote(key),
                                                     ", which is to be ignored, is not UTF-8 of 1 ",
                                                     "to ", kMostKeyBytes, " bytes"));
    }
  }
  return absl::OkStatus();
}

// What the journal and the manifest can say.
absl::Status CheckNames(const std::string& directory, const std::vector<JournalSource>& files) {
  if (static_cast<int64_t>(files.size()) > kMostListed) {
    return absl::InvalidArgumentError(absl::StrCat(
        directory, ": has ", files.size(), " files to convert; at most ", kMostListed, " can be"));
  }
  for (const JournalSource& file : files) {
    if (file.name.size() > kMostKeyBytes || FirstInvalidUtf8(file.name) >= 0) {
      return absl::InvalidArgumentError(absl::StrCat(directory, ": the name of ", Quote(file.name),
                                                     " is not UTF-8 of at most ", kMostKeyBytes,
                                                     " bytes"));
    }
  }
  return absl::OkStatus();
}

class SourceReader {
 public:
  explicit SourceReader(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  absl::StatusOr<ConversionSource> Read() {
    absl::Status status = CheckIgnoredKeys(checkpoint_.options.ignored_config_keys);
    if (!status.ok()) return status;
    if (status = ReadStates(); !status.ok()) return status;
    // Nothing is hashed that is not what was inspected, and nothing changes while it is.
    if (status = CheckUnchanged(source_); !status.ok()) return status;
    const absl::StatusOr<std::vector<FileIdentity>> files = IdentifyFiles(checkpoint_);
    if (!files.ok()) return files.status();
    const std::map<std::string, std::string> samples = HashSamples(*checkpoint_.files);
    for (const FileIdentity& file : *files) {
      const auto sampled = samples.find(file.name);
      const bool tensors = file.name != checkpoint_.texts[0] && sampled != samples.end();
      Add(file.name, file.bytes,
          tensors ? ChecksumOf(absl::StrCat(file.hash, " ", sampled->second)) : file.hash);
    }
    source_.copies = {source_.files[0]};
    for (const char* name : kCopiedNames) {
      if (!states_.contains(name)) continue;
      const auto text = ReadSmallFile(states_.at(name).path, kMostCopiedBytes);
      if (!text.ok()) return text.status();
      Add(name, static_cast<int64_t>(text->size()), ChecksumOf(*text));
      source_.copies.push_back(source_.files.back());
    }
    if (status = CheckNames(checkpoint_.directory, source_.files); !status.ok()) return status;
    if (status = CheckUnchanged(source_); !status.ok()) return status;
    return std::move(source_);
  }

 private:
  // Those kept since files were opened; of the others the present ones.
  absl::Status ReadStates() {
    for (FileState& state : checkpoint_.files->states()) Keep(std::move(state));
    for (const auto& [name, tensor] : checkpoint_.files->tensors()) {
      if (states_.contains(BaseName(tensor.file))) continue;
      if (absl::Status status = KeepPresent(tensor.file); !status.ok()) return status;
    }
    const std::string config = checkpoint_.directory + "/" + checkpoint_.texts[0];
    if (checkpoint_.config_state.has_value()) {
      KeepClosed(*checkpoint_.config_state);
    } else if (absl::Status status = KeepPresent(config); !status.ok()) {
      return status;
    }
    for (const char* name : kCopiedNames) {
      const std::string path = checkpoint_.directory + "/" + name;
      if (absl::Status status = KeepPresent(path); !status.ok() && !absl::IsNotFound(status)) {
        return status;
      }
    }
    return absl::OkStatus();
  }
  absl::Status KeepPresent(const std::string& path) {
    absl::StatusOr<FileState> state = ReadFileState(path);
    if (!state.ok()) return state.status();
    KeepClosed(*std::move(state));
    return absl::OkStatus();
  }
  // Of a file that is not mapped: it may be numbered anew, and copies are compared by their hash.
  void KeepClosed(FileState state) {
    state.inode = 0;
    Keep(std::move(state));
  }
  void Keep(FileState state) {
    states_.emplace(BaseName(state.path), state);
    source_.states.push_back(std::move(state));
  }
  void Add(const std::string& name, int64_t bytes, const std::string& hash) {
    source_.files.push_back({name, bytes, states_.at(name).modified(), hash});
  }

  const Checkpoint& checkpoint_;
  ConversionSource source_;
  std::map<std::string, FileState> states_;  // by name
};

}  // namespace

absl::StatusOr<ConversionSource> ReadConversionSource(const Checkpoint& checkpoint) {
  return SourceReader(checkpoint).Read();
}

absl::Status CheckUnchanged(const ConversionSource& source) {
  for (const FileState& state : source.states) {
    if (absl::Status status = CheckSameState(state, "since it was read"); !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

std::vector<std::string> NamesNotCopied(const ConversionSource& source) {
  std::vector<std::string> names;
  for (const char* name : kCopiedNames) {
    if (std::none_of(source.copies.begin(), source.copies.end(),
                     [&](const JournalSource& copy) { return copy.name == name; })) {
      names.emplace_back(name);
    }
  }
  return names;
}

}  // namespace mneme::loader
