#include "loader/native/native_files.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "loader/safetensors/safetensors_header.h"
#include "loader/text/text.h"

namespace mneme::loader {
namespace {

constexpr char kPaddingPrefix[] = "padding.";

// One tensor of a shard, as the manifest has it.
struct Expected {
  const ManifestWeight* weight = nullptr;
  size_t index = 0;  // of its tensors
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
      expected[shard][tensor.name] = {&weight, i,
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

// `number` from 1. What the header says is quoted: it may be of any length and any bytes.
absl::Status CheckMetadata(const SafetensorsHeader& header, const Manifest& manifest, size_t number,
                           const std::string& path) {
  if (const std::string format = Member(header, "format"); format != "mneme") {
    return absl::InvalidArgumentError(absl::StrCat(path, ": its format is ", Quote(format),
                                                   ", not that of a native checkpoint's shards"));
  }
  const std::string version = Member(header, "format_version");
  if (version != absl::StrCat(kNativeVersion)) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": has format version ", Quote(version),
                                                      ", this build reads ", kNativeVersion));
  }
  if (const std::string id = Member(header, "conversion"); id != manifest.conversion) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": is of conversion ", Quote(id), ", ",
                                                      kManifestName, " is of ",
                                                      Quote(manifest.conversion)));
  }
  const std::string shard = Member(header, "shard");
  const std::string shards = Member(header, "shards");
  if (shard != absl::StrCat(number) || shards != absl::StrCat(manifest.shards.size())) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": is shard ", Quote(shard), " of ", Quote(shards), ", ", kManifestName,
                     " has it as ", number, " of ", manifest.shards.size()));
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
    const StoredDType dtype = e.weight->dtype;
    if (tensor.dtype != dtype || tensor.shape != e.shape || tensor.place != e.place) {
      return differs(
          name, absl::StrCat("is ", tensor.Describe(), " at ", tensor.place, ", but ",
                             ShapeString(e.shape), " ", StoredDTypeName(dtype), " at ", e.place));
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

struct NativeFiles::Shard {
  size_t number = 0;  // from 1
  ExpectedTensors tensors;
};

absl::StatusOr<std::shared_ptr<const NativeFiles>> NativeFiles::Open(const std::string& directory,
                                                                     const Manifest& manifest) {
  std::shared_ptr<NativeFiles> files(new NativeFiles);
  std::vector<ExpectedTensors> expected = ExpectedOf(manifest);
  for (size_t i = 0; i < manifest.shards.size(); ++i) {
    const ManifestShard& shard = manifest.shards[i];
    const absl::StatusOr<OpenFile> file =
        OpenShard(shard, absl::StrCat(directory, "/", shard.file));
    if (!file.ok()) return file.status();
    absl::Status status = files->Add(manifest, {i + 1, std::move(expected[i])}, *file);
    if (!status.ok()) return status;
  }
  for (const ManifestWeight& weight : manifest.weights) {
    if (!weight.tensors.empty()) files->AddWeight(directory, manifest, weight);
  }
  return files;
}

// Everything that is mapped of one shard, which its descriptor need not outlive: a process may have
// fewer files open than a checkpoint has shards.
absl::Status NativeFiles::Add(const Manifest& manifest, const Shard& shard, const OpenFile& file) {
  absl::StatusOr<MappedFile> mapped = MappedFile::Map(file);
  if (!mapped.ok()) return mapped.status();
  // Matrices, which steps read whole. Rows of tables have ranges of their own: of them a fault must
  // not read 2 MiB for one.
  mapped->ReadInHugePages();
  const absl::StatusOr<SafetensorsHeader> header = ParseSafetensors(mapped->bytes(), file.path());
  if (!header.ok()) return header.status();
  absl::Status status = CheckMetadata(*header, manifest, shard.number, file.path());
  if (status.ok()) status = CheckTensors(*header, shard.tensors, file.path());
  if (!status.ok()) return status;
  shards_.push_back(*std::move(mapped));
  for (const auto& [name, expected] : shard.tensors) {
    const ManifestWeight& weight = *expected.weight;
    if (!weight.blocks()) continue;
    const auto [range, fresh] = ranges_.try_emplace(weight.name);
    if (fresh) {
      auto reserved = MappedRange::Reserve(weight.rows * weight.row_bytes(), file.path());
      if (!reserved.ok()) return reserved.status();
      range->second = *std::move(reserved);
    }
    const ManifestTensor& block = weight.tensors[expected.index];
    const auto first_row = static_cast<int64_t>(expected.index) * weight.block_rows;
    status = range->second.Fill(first_row * weight.row_bytes(), {&file, block.offset, block.bytes});
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

void NativeFiles::AddWeight(const std::string& directory, const Manifest& manifest,
                            const ManifestWeight& weight) {
  const auto add = [&](const std::string& name, const ManifestTensor& at,
                       std::span<const uint8_t> bytes) {
    const ManifestShard& shard = manifest.shards[static_cast<size_t>(at.shard - 1)];
    StoredTensor tensor;
    tensor.name = name;
    tensor.file = absl::StrCat(directory, "/", shard.file);
    tensor.dtype = weight.dtype;
    tensor.shape = ShapeOf(weight, weight.rows);
    tensor.bytes = bytes;
    tensor.place = at.offset - shard.header_bytes;
    tensors_.emplace(name, std::move(tensor));
  };
  if (weight.blocks()) return add(weight.name, weight.tensors[0], ranges_.at(weight.name).bytes());
  for (const ManifestTensor& tensor : weight.tensors) {
    const std::span<const uint8_t> shard = shards_[static_cast<size_t>(tensor.shard - 1)].bytes();
    add(tensor.name, tensor,
        shard.subspan(static_cast<size_t>(tensor.offset), static_cast<size_t>(tensor.bytes)));
  }
}

int64_t NativeFiles::file_bytes() const {
  int64_t bytes = 0;
  for (const MappedFile& shard : shards_) bytes += static_cast<int64_t>(shard.bytes().size());
  return bytes;
}

void NativeFiles::DropPages(std::span<const uint8_t> part) const {
  for (const MappedFile& shard : shards_) shard.DropPages(part);
  for (const auto& [name, range] : ranges_) range.DropPages(part);
}

}  // namespace mneme::loader
