// Invariants, at every moment of a conversion:
// 1. A shard has its own name only when it is complete and on the disk; the journal lists it only
//    then. Killed between the two, the shard is written again: one shard at most.
// 2. The manifest has its name only when all shards and copies have theirs and the source was seen
//    to be what it was when it was opened; the journal is removed only then.
// 3. What is written depends on the checkpoint and the options alone: no times, no host, no order
//    of threads.
#include "loader/native/convert.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "loader/files/mapped_file.h"
#include "loader/native/checksum.h"
#include "loader/native/conversion_source.h"
#include "loader/native/journal.h"
#include "loader/native/output_file.h"
#include "loader/native/output_folder.h"
#include "loader/native/shard_writer.h"
#include "loader/native/weight_rows.h"

namespace mneme::loader {
namespace {

// The journal of a conversion that has not begun. Its name is what makes two conversions the same:
// source, options and version.
Journal Begin(const ConversionSource& source, const std::set<std::string>& ignored,
              const ConvertOptions& options) {
  Journal journal;
  std::string identity = absl::StrCat("mneme ", kNativeVersion, "\n");
  for (const JournalSource& file : source.files) {
    absl::StrAppend(&identity, file.name, " ", file.bytes, " ", file.hash, "\n");
  }
  absl::StrAppend(&identity, ManifestDTypeName(options.dtype), " ", options.shard_bytes, "\n");
  for (const std::string& key : ignored) absl::StrAppend(&identity, key, "\n");
  journal.conversion = WideChecksumOf(identity);
  journal.source = source.files;
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

int64_t BlocksOf(const ShardPiece& piece) {
  return (piece.bytes + kChecksumBytes - 1) / kChecksumBytes;
}

// Whether the journal's checksums are as many as the plan has tensors.
bool Fits(const ShardChecksums& checksums, const PlannedShard& shard) {
  size_t i = 0;
  for (const ShardPiece& piece : shard.pieces) {
    if (piece.weight < 0) continue;
    const auto blocks = static_cast<size_t>(BlocksOf(piece));
    if (i == checksums.size() || checksums[i++].size() != blocks) return false;
  }
  return i == checksums.size();
}

// As many as the shard will have.
ShardChecksums NoChecksums(const PlannedShard& shard) {
  ShardChecksums checksums;
  for (const ShardPiece& piece : shard.pieces) {
    if (piece.weight < 0) continue;
    checksums.emplace_back(static_cast<size_t>(BlocksOf(piece)), std::string(16, '0'));
  }
  return checksums;
}

// Whether the file is there with the size and header that the plan has for it. The system's error
// where that cannot be told.
absl::StatusOr<bool> IsThere(const std::string& path, const PlannedShard& shard) {
  const absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (absl::IsNotFound(file.status())) return false;
  if (!file.ok()) return file.status();
  if (static_cast<int64_t>(file->bytes().size()) != shard.bytes) return false;
  return std::memcmp(file->bytes().data(), shard.header.data(), shard.header.size()) == 0;
}

// What a file takes, about: whole blocks of most file systems.
int64_t DiskBytes(int64_t bytes) { return (bytes + 4095) / 4096 * 4096; }

class Converter {
 public:
  Converter(const Checkpoint& checkpoint, ConversionSource source, OutputFolder folder,
            Journal journal, ShardPlan plan, const ConvertHooks& hooks)
      : checkpoint_(checkpoint),
        source_(std::move(source)),
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
                         .shards_before = static_cast<int64_t>(journal_.finished.size()),
                         .renewed = {}};
    absl::Status status;
    if (folder_.manifest().has_value()) {
      report.complete_before = true;
      report.shards_before = report.shards;
      status = CheckShards();
      if (status.ok()) status = RenewCopies(&report.renewed);
    } else {
      status = MakeRoom();
      if (status.ok()) status = Write();
    }
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
      const std::string difference = ManifestDifference(*folder_.manifest(), journal_);
      return difference.empty() ? absl::OkStatus() : Anew(folder_, difference);
    }
    if (!folder_.journal().has_value()) return absl::OkStatus();
    for (const auto& [number, checksums] : folder_.journal()->finished) {
      const PlannedShard& shard = plan_.shards[static_cast<size_t>(number - 1)];
      if (!Fits(checksums, shard)) continue;
      const absl::StatusOr<bool> there = IsThere(folder_.Path(shard.file), shard);
      if (!there.ok()) return there.status();
      if (*there) journal_.finished[number] = checksums;
    }
    return absl::OkStatus();
  }

  // The manifest was written last: whatever is missing was taken away since.
  absl::Status CheckShards() {
    for (const PlannedShard& shard : plan_.shards) {
      const absl::StatusOr<bool> there = IsThere(folder_.Path(shard.file), shard);
      if (!there.ok()) return there.status();
      if (*there) continue;
      return absl::FailedPreconditionError(absl::StrCat(
          folder_.Path(shard.file),
          ": is missing or another file, though the conversion was complete; remove the folder to "
          "begin anew"));
    }
    return absl::OkStatus();
  }

  // Copies that are not what they were, once more.
  absl::Status RenewCopies(std::vector<std::string>* renewed) {
    for (const JournalSource& copy : source_.copies) {
      const auto text = ReadSmallFile(folder_.Path(copy.name), kMostCopiedBytes);
      if (text.ok() && ChecksumOf(*text) == copy.hash) continue;
      if (!text.ok() && !absl::IsNotFound(text.status()) &&
          !absl::IsInvalidArgument(text.status())) {
        return text.status();
      }
      if (absl::Status status = CopyOne(copy); !status.ok()) return status;
      renewed->push_back(copy.name);
    }
    return absl::OkStatus();
  }

  // Serving reads these names, whatever the manifest lists.
  absl::Status CheckOthers() {
    for (const std::string& name : NamesNotCopied(source_)) {
      if (!FileExists(folder_.Path(name))) continue;
      return absl::FailedPreconditionError(
          absl::StrCat(folder_.Path(name), ": is not of this conversion, ", checkpoint_.directory,
                       " has no such file; remove it"));
    }
    return absl::OkStatus();
  }

  // Before anything is written: that it can be, and will be read.
  absl::Status MakeRoom() {
    if (absl::Status status = CheckOthers(); !status.ok()) return status;
    Journal complete = journal_;
    int64_t needed = 0;
    for (size_t i = 0; i < plan_.shards.size(); ++i) {
      const PlannedShard& shard = plan_.shards[i];
      const auto added = complete.finished.emplace(static_cast<int64_t>(i) + 1, NoChecksums(shard));
      if (!added.second) continue;
      // What a killed run reserved is not free, and would be counted as if it were somebody else's.
      unlink((folder_.Path(shard.file) + kPartialSuffix).c_str());
      unlink(folder_.Path(shard.file).c_str());
      needed += DiskBytes(shard.bytes);
    }
    for (const JournalSource& copy : source_.copies) needed += DiskBytes(copy.bytes);
    const std::string manifest = MakeManifest(complete).Print();
    if (const auto parsed = Manifest::Parse(manifest, kManifestName); !parsed.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(
          checkpoint_.directory, ": cannot be converted: ", parsed.status().message()));
    }
    needed += DiskBytes(static_cast<int64_t>(manifest.size()));
    needed += DiskBytes(static_cast<int64_t>(complete.Print().size()));
    const int64_t free = FreeBytes(folder_.path());
    sizes_ = absl::StrCat(needed, " bytes are needed, ", std::max<int64_t>(0, free), " are free");
    if (free < 0 || free >= needed) return absl::OkStatus();
    return absl::ResourceExhaustedError(absl::StrCat(folder_.path(), ": ", sizes_));
  }

  absl::Status Write() {
    absl::Status status = WriteWholeFile(folder_.Path(kJournalName), journal_.Print());
    for (const JournalSource& copy : source_.copies) {
      if (status.ok()) status = CopyOne(copy);
    }
    if (status.ok()) status = Reserve();
    if (status.ok()) status = WriteShards();
    if (status.ok()) status = CheckUnchanged(source_);
    if (status.ok()) {
      status = WriteWholeFile(folder_.Path(kManifestName), MakeManifest(journal_).Print());
    }
    if (!absl::IsResourceExhausted(status)) return status;
    return absl::ResourceExhaustedError(absl::StrCat(status.message(), "; ", sizes_));
  }

  absl::Status RemoveJournal() {
    const std::string path = folder_.Path(kJournalName);
    if (unlink(path.c_str()) != 0 && errno != ENOENT) {
      return absl::UnavailableError(absl::StrCat(path, ": cannot remove: ", std::strerror(errno)));
    }
    return SyncFolder(folder_.path());
  }

  absl::Status CopyOne(const JournalSource& copy) {
    const std::string path = checkpoint_.directory + "/" + copy.name;
    const auto text = ReadSmallFile(path, kMostCopiedBytes);
    if (!text.ok()) return text.status();
    if (const std::string hash = ChecksumOf(*text); hash != copy.hash) {
      return absl::FailedPreconditionError(
          absl::StrCat(path, ": has changed since it was read: had ", copy.bytes,
                       " bytes with hash ", copy.hash, ", has ", text->size(), " with ", hash));
    }
    return WriteWholeFile(folder_.Path(copy.name), *text);
  }

  // Allocates all shards that are to be written, before the first byte of one is.
  absl::Status Reserve() {
    for (size_t i = 0; i < plan_.shards.size(); ++i) {
      if (journal_.finished.count(static_cast<int64_t>(i) + 1) != 0) continue;
      if (Stopped()) return absl::CancelledError(folder_.path() + ": stopped");
      const PlannedShard& shard = plan_.shards[i];
      absl::StatusOr<OutputFile> file = OutputFile::Create(folder_.Path(shard.file), shard.bytes);
      if (!file.ok()) return file.status();
      file->Suspend();
      files_.push_back(*std::move(file));
    }
    return absl::OkStatus();
  }

  absl::Status WriteShards() {
    absl::StatusOr<AppendedFile> journal = AppendedFile::Open(folder_.Path(kJournalName));
    if (!journal.ok()) return journal.status();
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
      const std::string line = Journal::PrintFinished(i + 1, *checksums);
      if (absl::Status status = journal->Append(line); !status.ok()) return status;
      journal_.finished[i + 1] = *std::move(checksums);
      // Headers and paddings count when they are in place.
      done = before;
      progress(plan_.shards[static_cast<size_t>(i)].bytes);
    }
    return absl::OkStatus();
  }

  // REQUIRES: all shards of `journal` are finished.
  Manifest MakeManifest(const Journal& journal) const {
    Manifest manifest{.conversion = journal.conversion,
                      .source = {},
                      .dtype = journal.dtype,
                      .ignored_config_keys = journal.ignored_config_keys,
                      .config = source_.copies[0].name,
                      .copies = {},
                      .shards = {},
                      .weights = plan_.weights};
    for (const JournalSource& file : journal.source) {
      manifest.source.push_back({file.name, file.bytes, file.hash});
    }
    for (const JournalSource& file : source_.copies) {
      manifest.copies.push_back({file.name, file.bytes, file.hash});
    }
    for (size_t i = 0; i < plan_.shards.size(); ++i) {
      const PlannedShard& shard = plan_.shards[i];
      manifest.shards.push_back({shard.file, shard.bytes, static_cast<int64_t>(shard.header.size()),
                                 ChecksumOf(shard.header)});
      const ShardChecksums& checksums = journal.finished.at(static_cast<int64_t>(i) + 1);
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
  const ConversionSource source_;
  OutputFolder folder_;
  Journal journal_;
  ShardPlan plan_;
  const ConvertHooks& hooks_;
  std::string sizes_;             // needed and free, for messages
  std::deque<OutputFile> files_;  // of the shards that are not finished, in their order
};

}  // namespace

PackOptions PackOptionsOf(Manifest::DType dtype) {
  PackOptions options;
  options.round_to_bf16 = dtype == Manifest::DType::kBf16;
  options.widen_to_f32 = dtype == Manifest::DType::kF32;
  return options;
}

absl::StatusOr<ConvertReport> ConvertCheckpoint(const Checkpoint& checkpoint,
                                                const std::string& out,
                                                const ConvertOptions& options,
                                                const ConvertHooks& hooks) {
  const std::set<std::string>& ignored = checkpoint.options.ignored_config_keys;
  if (absl::Status status = CheckConvertFolders(checkpoint.directory, out); !status.ok()) {
    return status;
  }
  absl::StatusOr<ConversionSource> source = ReadConversionSource(checkpoint);
  if (!source.ok()) return source.status();
  Journal journal = Begin(*source, ignored, options);
  absl::StatusOr<ShardPlan> plan =
      PlanShards(checkpoint.model, checkpoint.weights,
                 {PackOptionsOf(options.dtype), journal.conversion, options.shard_bytes});
  if (!plan.ok()) {
    return absl::Status(plan.status().code(),
                        absl::StrCat(checkpoint.directory, ": ", plan.status().message()));
  }
  absl::StatusOr<OutputFolder> folder = OutputFolder::Open(out);
  if (!folder.ok()) return folder.status();
  Converter converter(checkpoint, *std::move(source), *std::move(folder), std::move(journal),
                      *std::move(plan), hooks);
  return converter.Run();
}

}  // namespace mneme::loader
