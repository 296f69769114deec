#include "loader/native/native_files.h"

#include <charconv>
#include <utility>

#include "absl/strings/str_cat.h"
#include "loader/safetensors/safetensors_header.h"
#include "loader/text/text.h"

namespace mneme::loader {
namespace {

constexpr char kPaddingPrefix[] = "padding.";

// What the manifest says of one shard's tensors, by name.
struct Expected {
  StoredDType dtype = StoredDType::kF32;
  std::vector<int64_t> shape;
  int64_t place = 0;  // in the shard's data
};
using ExpectedTensors = std::map<std::string, Expected>;

std::vector<int64_t> ShapeOf(const ManifestWeight& weight, int64_t rows) {
  return {rows, weight.row_bytes() / StoredDTypeBytes(weight.dtype)};
}

// By shard.
std::vector<ExpectedTensors> ExpectedOf(const Manifest& manifest) {
  std::vector<ExpectedTensors> expected(manifest.shards.size());
  for (const ManifestWeight& weight : manifest.weights) {
    for (size_t i = 0; i < weight.tensors.size(); ++i) {
      const ManifestTensor& tensor = weight.tensors[i];
      const auto shard = static_cast<size_t>(tensor.shard - 1);
      expected[shard][tensor.name] = {weight.dtype,
                                      ShapeOf(weight, weight.tensor_rows(static_cast<int64_t>(i))),
                                      tensor.offset - manifest.shards[shard].header_bytes};
    }
  }
  return expected;
}

// A member of a header's metadata; empty where it is not.
std::string Member(const SafetensorsHeader& header, const char* name) {
  const auto it = header.metadata.find(name);
  return it == header.metadata.end() ? "" : it->second;
}

int64_t Number(const std::string& text) {
  int64_t number = -1;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

// `number` from 1.
absl::Status CheckMetadata(const SafetensorsHeader& header, const Manifest& manifest, size_t number,
                           const std::string& path) {
  if (const std::string format = Member(header, "format"); format != "mneme") {
    return absl::InvalidArgumentError(absl::StrCat(path, ": its format is ", Quote(format),
                                                   ", not that of a native checkpoint's shards"));
  }
  const int64_t version = Number(Member(header, "format_version"));
  if (version != kNativeVersion) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": has format version ",
                                                      Member(header, "format_version"),
                                                      ", this build reads ", kNativeVersion));
  }
  if (const std::string id = Member(header, "conversion"); id != manifest.conversion) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, ": is of conversion ", id, ", ", kManifestName, " is of ", manifest.conversion));
  }
  const std::string place = absl::StrCat(Member(header, "shard"), " of ", Member(header, "shards"));
  const std::string due = absl::StrCat(number, " of ", manifest.shards.size());
  if (place != due) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": is shard ", place, ", ", kManifestName, " has it as ", due));
  }
  return absl::OkStatus();
}

absl::Status CheckTensors(const SafetensorsHeader& header, const ExpectedTensors& expected,
                          const std::string& path) {
  const auto differs = [&path](const std::string& name, const std::string& how) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": tensor ", Quote(name), " ", how, " in ", kManifestName));
  };
  for (const auto& [name, tensor] : header.tensors) {
    const auto it = expected.find(name);
    if (it == expected.end()) {
      if (name.starts_with(kPaddingPrefix)) continue;
      return differs(name, "is not");
    }
    const Expected& e = it->second;
    if (tensor.dtype != e.dtype || tensor.shape != e.shape || tensor.place != e.place) {
      return differs(
          name, absl::StrCat("is ", tensor.Describe(), " at ", tensor.place, ", but ",
                             ShapeString(e.shape), " ", StoredDTypeName(e.dtype), " at ", e.place));
    }
  }
  for (const auto& [name, tensor] : expected) {
    if (header.tensors.count(name) == 0) return differs(name, "is missing, but is");
  }
  return absl::OkStatus();
}

absl::StatusOr<OpenFile> OpenShard(const ManifestShard& shard, const std::string& path) {
  absl::StatusOr<OpenFile> file = OpenFile::Open(path);
  if (absl::IsNotFound(file.status())) {
    return absl::NotFoundError(
        absl::StrCat(path, ": is missing, but ", kManifestName, " lists it"));
  }
  if (!file.ok()) return file;
  if (file->bytes() != shard.bytes) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": has ", file->bytes(), " bytes, in ",
                                                      kManifestName, " it has ", shard.bytes));
  }
  return file;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const NativeFiles>> NativeFiles::Open(const std::string& directory,
                                                                     const Manifest& manifest) {
  std::shared_ptr<NativeFiles> files(new NativeFiles);
  const std::vector<ExpectedTensors> expected = ExpectedOf(manifest);
  std::vector<OpenFile> open;
  for (size_t i = 0; i < manifest.shards.size(); ++i) {
    const ManifestShard& shard = manifest.shards[i];
    const std::string path = absl::StrCat(directory, "/", shard.file);
    absl::StatusOr<OpenFile> file = OpenShard(shard, path);
    if (!file.ok()) return file.status();
    absl::StatusOr<MappedFile> mapped = MappedFile::Map(*file);
    if (!mapped.ok()) return mapped.status();
    // Matrices, which steps read whole. Rows of tables have ranges of their own: of them a fault
    // must not read 2 MiB for one.
    mapped->ReadInHugePages();
    const absl::StatusOr<SafetensorsHeader> header = ParseSafetensors(mapped->bytes(), path);
    if (!header.ok()) return header.status();
    absl::Status status = CheckMetadata(*header, manifest, i + 1, path);
    if (status.ok()) status = CheckTensors(*header, expected[i], path);
    if (!status.ok()) return status;
    open.push_back(*std::move(file));
    files->shards_.push_back(*std::move(mapped));
  }
  for (const ManifestWeight& weight : manifest.weights) {
    if (weight.tensors.empty()) continue;
    absl::Status status = files->MapWeight(directory, manifest, weight, open);
    if (!status.ok()) return status;
  }
  return files;
}

absl::Status NativeFiles::MapWeight(const std::string& directory, const Manifest& manifest,
                                    const ManifestWeight& weight,
                                    const std::vector<OpenFile>& open) {
  const auto add = [&](const std::string& name, const ManifestTensor& at, int64_t rows,
                       std::span<const uint8_t> bytes) {
    const ManifestShard& shard = manifest.shards[static_cast<size_t>(at.shard - 1)];
    StoredTensor tensor;
    tensor.name = name;
    tensor.file = absl::StrCat(directory, "/", shard.file);
    tensor.dtype = weight.dtype;
    tensor.shape = ShapeOf(weight, rows);
    tensor.bytes = bytes;
    tensor.place = at.offset - shard.header_bytes;
    tensors_.emplace(name, std::move(tensor));
  };
  if (weight.packing == Packing::kStacked || weight.tensors.size() == 1) {
    for (const ManifestTensor& tensor : weight.tensors) {
      const std::span<const uint8_t> shard = shards_[static_cast<size_t>(tensor.shard - 1)].bytes();
      add(weight.packing == Packing::kStacked ? tensor.name : weight.name, tensor, weight.rows,
          shard.subspan(static_cast<size_t>(tensor.offset), static_cast<size_t>(tensor.bytes)));
    }
    return absl::OkStatus();
  }
  std::vector<MappedRange::Piece> pieces;
  for (const ManifestTensor& tensor : weight.tensors) {
    pieces.push_back({&open[static_cast<size_t>(tensor.shard - 1)], tensor.offset, tensor.bytes});
  }
  absl::StatusOr<MappedRange> range = MappedRange::Map(pieces);
  if (!range.ok()) return range.status();
  add(weight.name, weight.tensors[0], weight.rows, range->bytes());
  ranges_.push_back(*std::move(range));
  return absl::OkStatus();
}

int64_t NativeFiles::file_bytes() const {
  int64_t bytes = 0;
  for (const MappedFile& shard : shards_) bytes += static_cast<int64_t>(shard.bytes().size());
  return bytes;
}

void NativeFiles::DropPages(std::span<const uint8_t> part) const {
  for (const MappedFile& shard : shards_) shard.DropPages(part);
  for (const MappedRange& range : ranges_) range.DropPages(part);
}

}  // namespace mneme::loader
