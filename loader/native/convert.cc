// Invariants, at every moment of a conversion:
// 1. A shard has its own name only when it is complete and on the disk; the journal lists it only
//    then. Killed between the two, the shard is written again: one shard at most.
// 2. The manifest has its name only when all shards and copies have theirs, and the journal is
//    removed only then.
// 3. What is written depends on the checkpoint and the options alone: no times, no host, no order
//    of threads.
#include "loader/native/convert.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <deque>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "loader/checkpoint/file_identity.h"
#include "loader/files/mapped_file.h"
#include "loader/native/checksum.h"
#include "loader/native/journal.h"
#include "loader/native/output_file.h"
#include "loader/native/output_folder.h"
#include "loader/native/shard_writer.h"
#include "loader/native/weight_rows.h"

namespace mneme::loader {
namespace {

// Of a config or a tokenizer; the largest published tokenizers have some 30 MB.
constexpr int64_t kMostCopiedBytes = int64_t{256} << 20;
// Besides the config, where they are there.
constexpr const char* kCopiedNames[] = {"generation_config.json", "tokenizer.json"};

// "2026-01-31T23:59:59.123456789Z"
absl::StatusOr<std::string> ModifiedTime(const std::string& path) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0) {
    return absl::NotFoundError(absl::StrCat(path, ": cannot stat: ", std::strerror(errno)));
  }
  std::tm utc{};
  gmtime_r(&status.st_mtim.tv_sec, &utc);
  char text[64];
  const size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
  std::snprintf(text + size, sizeof text - size, ".%09ldZ", status.st_mtim.tv_nsec);
  return std::string(text);
}

// The journal of a conversion that has not begun. Its name is what makes two conversions the same:
// source, options and version.
absl::StatusOr<Journal> Begin(const Checkpoint& checkpoint, const ConvertOptions& options) {
  const absl::StatusOr<std::vector<FileIdentity>> files = IdentifyFiles(checkpoint);
  if (!files.ok()) return files.status();
  Journal journal;
  std::string identity = absl::StrCat("mneme ", kNativeVersion, "\n");
  for (const FileIdentity& file : *files) {
    const auto modified = ModifiedTime(checkpoint.directory + "/" + file.name);
    if (!modified.ok()) return modified.status();
    journal.source.push_back({file.name, file.bytes, *modified, file.hash});
    absl::StrAppend(&identity, file.name, " ", file.bytes, " ", file.hash, "\n");
  }
  absl::StrAppend(&identity, ManifestDTypeName(options.dtype), " ", options.shard_bytes, "\n");
  const std::set<std::string>& ignored = checkpoint.options.ignored_config_keys;
  for (const std::string& key : ignored) absl::StrAppend(&identity, key, "\n");
  journal.conversion = WideChecksumOf(identity);
  journal.dtype = options.dtype;
  journal.ignored_config_keys = {ignored.begin(), ignored.end()};
  journal.shard_bytes = options.shard_bytes;
  return journal;
}

absl::Status Anew(const OutputFolder& folder, const std::string& difference) {
  return absl::FailedPreconditionError(
      absl::StrCat(folder.path(), ": holds another conversion: ", difference,
                   "; convert into another folder, or remove it to begin anew"));
}

// Whether the journal's checksums are as many as the plan has tensors.
bool Fits(const ShardChecksums& checksums, const PlannedShard& shard) {
  size_t i = 0;
  for (const ShardPiece& piece : shard.pieces) {
    if (piece.weight < 0) continue;
    const auto blocks = static_cast<size_t>((piece.bytes + kChecksumBytes - 1) / kChecksumBytes);
    if (i == checksums.size() || checksums[i++].size() != blocks) return false;
  }
  return i == checksums.size();
}

// Whether the file is there with the size and header that the plan has for it.
bool IsThere(const std::string& path, const PlannedShard& shard) {
  const absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (!file.ok() || static_cast<int64_t>(file->bytes().size()) != shard.bytes) return false;
  return std::memcmp(file->bytes().data(), shard.header.data(), shard.header.size()) == 0;
}

class Converter {
 public:
  Converter(const Checkpoint& checkpoint, OutputFolder folder, Journal journal, ShardPlan plan,
            const ConvertHooks& hooks)
      : checkpoint_(checkpoint),
        folder_(std::move(folder)),
        journal_(std::move(journal)),
        plan_(std::move(plan)),
        hooks_(hooks) {}

  absl::StatusOr<ConvertReport> Run() {
    journal_.shards = static_cast<int64_t>(plan_.shards.size());
    if (absl::Status status = TakeUp(); !status.ok()) return status;
    ConvertReport report{.conversion = journal_.conversion,
                         .shards = journal_.shards,
                         .bytes = plan_.bytes(),
                         .shards_before = static_cast<int64_t>(journal_.finished.size())};
    if (folder_.manifest().has_value()) {
      report.complete_before = true;
      report.shards_before = report.shards;
      absl::Status status = RemoveJournal();
      return status.ok() ? absl::StatusOr<ConvertReport>(report) : status;
    }
    absl::Status status = Save();
    if (status.ok()) status = Copy();
    if (status.ok()) status = Reserve();
    if (status.ok()) status = WriteShards();
    if (status.ok()) status = WriteWholeFile(folder_.Path(kManifestName), MakeManifest().Print());
    if (status.ok()) status = RemoveJournal();
    if (!status.ok()) return status;
    return report;
  }

 private:
  // Goes on where an earlier run was, if it is the same conversion.
  absl::Status TakeUp() {
    if (folder_.journal().has_value()) {
      const std::string difference = JournalDifference(*folder_.journal(), journal_);
      if (!difference.empty()) return Anew(folder_, difference);
    }
    if (folder_.manifest().has_value()) {
      const std::string& there = folder_.manifest()->conversion;
      if (there == journal_.conversion) return CheckComplete();
      return Anew(folder_, absl::StrCat("conversion ", there, " is complete there, this one is ",
                                        journal_.conversion));
    }
    if (!folder_.journal().has_value()) return absl::OkStatus();
    for (const auto& [number, checksums] : folder_.journal()->finished) {
      const PlannedShard& shard = plan_.shards[static_cast<size_t>(number - 1)];
      if (Fits(checksums, shard) && IsThere(folder_.Path(shard.file), shard)) {
        journal_.finished[number] = checksums;
      }
    }
    return absl::OkStatus();
  }

  // The manifest was written last: whatever is missing was taken away since.
  absl::Status CheckComplete() {
    for (const PlannedShard& shard : plan_.shards) {
      if (IsThere(folder_.Path(shard.file), shard)) continue;
      return absl::FailedPreconditionError(absl::StrCat(
          folder_.Path(shard.file),
          ": is missing or another file, though the conversion was complete; remove the folder to "
          "begin anew"));
    }
    return absl::OkStatus();
  }

  absl::Status Save() { return WriteWholeFile(folder_.Path(kJournalName), journal_.Print()); }

  absl::Status RemoveJournal() {
    const std::string path = folder_.Path(kJournalName);
    if (unlink(path.c_str()) != 0 && errno != ENOENT) {
      return absl::UnavailableError(absl::StrCat(path, ": cannot remove: ", std::strerror(errno)));
    }
    return SyncFolder(folder_.path());
  }

  absl::Status CopyOne(const std::string& name) {
    const auto text = ReadSmallFile(checkpoint_.directory + "/" + name, kMostCopiedBytes);
    if (!text.ok()) return text.status();
    copies_.push_back({name, static_cast<int64_t>(text->size()), ChecksumOf(*text)});
    return WriteWholeFile(folder_.Path(name), *text);
  }

  absl::Status Copy() {
    if (absl::Status status = CopyOne(checkpoint_.texts[0]); !status.ok()) return status;
    for (const char* name : kCopiedNames) {
      if (!FileExists(checkpoint_.directory + "/" + name)) continue;
      if (absl::Status status = CopyOne(name); !status.ok()) return status;
    }
    return absl::OkStatus();
  }

  // Makes room for all shards that are to be written, before the first byte of one is.
  absl::Status Reserve() {
    int64_t needed = 0;
    std::vector<size_t> open;
    for (size_t i = 0; i < plan_.shards.size(); ++i) {
      if (journal_.finished.count(static_cast<int64_t>(i) + 1) != 0) continue;
      // What a killed run reserved is not free, and would be counted as if it were somebody else's.
      unlink((folder_.Path(plan_.shards[i].file) + kPartialSuffix).c_str());
      unlink(folder_.Path(plan_.shards[i].file).c_str());
      needed += plan_.shards[i].bytes;
      open.push_back(i);
    }
    const int64_t free = FreeBytes(folder_.path());
    const std::string sizes =
        absl::StrCat(needed, " bytes are needed, ", std::max<int64_t>(0, free), " are free");
    if (free >= 0 && free < needed) {
      return absl::ResourceExhaustedError(absl::StrCat(folder_.path(), ": ", sizes));
    }
    for (const size_t i : open) {
      if (Stopped()) return absl::CancelledError(folder_.path() + ": stopped");
      const PlannedShard& shard = plan_.shards[i];
      absl::StatusOr<OutputFile> file = OutputFile::Create(folder_.Path(shard.file), shard.bytes);
      if (!file.ok()) {
        return absl::Status(file.status().code(),
                            absl::StrCat(file.status().message(), "; ", sizes));
      }
      file->Suspend();
      files_.push_back(*std::move(file));
    }
    return absl::OkStatus();
  }

  absl::Status WriteShards() {
    WeightRows rows(checkpoint_, PackOptionsOf(journal_.dtype));
    const int64_t total = plan_.bytes();
    int64_t done = 0;
    for (const auto& [number, checksums] : journal_.finished) {
      done += plan_.shards[static_cast<size_t>(number - 1)].bytes;
    }
    const auto progress = [&](int64_t bytes) {
      done += bytes;
      if (hooks_.on_progress) hooks_.on_progress(std::min(done, total), total);
    };
    progress(0);
    for (int64_t i = 0; i < journal_.shards; ++i) {
      if (journal_.finished.count(i + 1) != 0) continue;
      const int64_t before = done;
      absl::StatusOr<ShardChecksums> checksums =
          WriteShard(plan_, i, &rows, &files_.front(), {progress, hooks_.stop});
      if (absl::IsCancelled(checksums.status())) {
        return absl::CancelledError(folder_.path() + ": stopped");
      }
      if (!checksums.ok()) return checksums.status();
      if (absl::Status status = files_.front().Commit(); !status.ok()) return status;
      files_.pop_front();
      journal_.finished[i + 1] = *std::move(checksums);
      if (absl::Status status = Save(); !status.ok()) return status;
      // Headers and paddings count when they are in place.
      done = before;
      progress(plan_.shards[static_cast<size_t>(i)].bytes);
    }
    return absl::OkStatus();
  }

  Manifest MakeManifest() {
    Manifest manifest{.conversion = journal_.conversion,
                      .source = {},
                      .dtype = journal_.dtype,
                      .ignored_config_keys = journal_.ignored_config_keys,
                      .config = copies_[0].name,
                      .copies = copies_,
                      .shards = {},
                      .weights = plan_.weights};
    for (const JournalSource& file : journal_.source) {
      manifest.source.push_back({file.name, file.bytes, file.hash});
    }
    for (size_t i = 0; i < plan_.shards.size(); ++i) {
      const PlannedShard& shard = plan_.shards[i];
      manifest.shards.push_back({shard.file, shard.bytes, static_cast<int64_t>(shard.header.size()),
                                 ChecksumOf(shard.header)});
      const ShardChecksums& checksums = journal_.finished.at(static_cast<int64_t>(i) + 1);
      size_t next = 0;
      for (const ShardPiece& piece : shard.pieces) {
        if (piece.weight < 0) continue;
        manifest.weights[static_cast<size_t>(piece.weight)]
            .tensors[static_cast<size_t>(piece.tensor)]
            .checksums = checksums[next++];
      }
    }
    return manifest;
  }

  bool Stopped() const { return hooks_.stop != nullptr && hooks_.stop->load(); }

  const Checkpoint& checkpoint_;
  OutputFolder folder_;
  Journal journal_;
  ShardPlan plan_;
  const ConvertHooks& hooks_;
  std::vector<ManifestFile> copies_;
  std::deque<OutputFile> files_;  // of the shards that are not finished, in their order
};

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

PackOptions PackOptionsOf(Manifest::DType dtype) {
  PackOptions options;
  options.round_to_bf16 = dtype == Manifest::DType::kBf16;
  options.widen_to_f32 = dtype == Manifest::DType::kF32;
  return options;
}

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
  if (FileExists(source + "/" + kManifestName)) {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ": has a ", kManifestName, ": it is a native checkpoint already"));
  }
  return absl::OkStatus();
}

absl::StatusOr<ConvertReport> ConvertCheckpoint(const Checkpoint& checkpoint,
                                                const std::string& out,
                                                const ConvertOptions& options,
                                                const ConvertHooks& hooks) {
  if (absl::Status status = CheckConvertFolders(checkpoint.directory, out); !status.ok()) {
    return status;
  }
  absl::StatusOr<Journal> journal = Begin(checkpoint, options);
  if (!journal.ok()) return journal.status();
  absl::StatusOr<ShardPlan> plan =
      PlanShards(checkpoint.model, checkpoint.weights,
                 {PackOptionsOf(options.dtype), journal->conversion, options.shard_bytes});
  if (!plan.ok()) {
    return absl::Status(plan.status().code(),
                        absl::StrCat(checkpoint.directory, ": ", plan.status().message()));
  }
  absl::StatusOr<OutputFolder> folder = OutputFolder::Open(out);
  if (!folder.ok()) return folder.status();
  Converter converter(checkpoint, *std::move(folder), *std::move(journal), *std::move(plan), hooks);
  return converter.Run();
}

}  // namespace mneme::loader
