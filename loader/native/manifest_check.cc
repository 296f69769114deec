#include "loader/native/manifest_check.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "loader/safetensors/safetensors_header.h"
#include "loader/text/text.h"

namespace mneme::loader {
namespace {

constexpr int64_t kMostBytes = int64_t{1} << 56;

absl::Status Error(const std::string& file, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(file, ": ", what));
}

// No two files of the folder have one name, and the config is one of the copies.
absl::Status CheckNames(const Manifest& manifest, const std::string& file) {
  std::set<std::string> names = {kManifestName};
  for (const ManifestFile& copy : manifest.copies) {
    if (!names.insert(copy.name).second) {
      return Error(file, absl::StrCat("file ", Quote(copy.name), " is listed twice"));
    }
  }
  if (manifest.config == kManifestName || names.count(manifest.config) == 0) {
    return Error(file, absl::StrCat("config ", Quote(manifest.config), " is not in copies"));
  }
  for (const ManifestShard& shard : manifest.shards) {
    if (!names.insert(shard.file).second) {
      return Error(file, absl::StrCat("file ", Quote(shard.file), " is listed twice"));
    }
    if (shard.header_bytes % kShardDataAlignment != 0 || shard.header_bytes > shard.bytes) {
      return Error(file, absl::StrCat("shard ", Quote(shard.file), ": header_bytes ",
                                      shard.header_bytes, " is no multiple of ",
                                      kShardDataAlignment, " inside its ", shard.bytes, " bytes"));
    }
    // Whoever checks a header reads it whole. Eight bytes of length come before its text.
    if (shard.header_bytes > kMaxHeaderBytes + 8) {
      return Error(file, absl::StrCat("shard ", Quote(shard.file), ": header_bytes ",
                                      shard.header_bytes, " is more than ", kMaxHeaderBytes + 8));
    }
  }
  return absl::OkStatus();
}

// The sizes of one weight. Afterwards its rows, bytes and tensors can be computed.
absl::Status CheckShape(const ManifestWeight& weight, const std::string& where) {
  const int64_t element = StoredDTypeBytes(weight.dtype);
  int64_t row = 0;
  int64_t bytes = 0;
  const bool table = weight.packing == Packing::kInterleavedRows;
  const int64_t cols = table ? weight.pre_width + weight.width : weight.cols;
  if (__builtin_mul_overflow(cols, element, &row)) return Error(where, "rows too long to count");
  if (table) {
    if (row > kMostBytes || weight.row_stride != (row + 63) / 64 * 64) {
      return Error(where, absl::StrCat("row_stride ", weight.row_stride, " is not ", row,
                                       " bytes rounded up to a multiple of 64"));
    }
    row = weight.row_stride;
  }
  if (__builtin_mul_overflow(weight.rows, row, &bytes) ||
      __builtin_mul_overflow(bytes, std::max<int64_t>(1, weight.stack), &bytes) ||
      bytes > kMostBytes) {
    return Error(where, "has more bytes than can be counted");
  }
  if (weight.packing == Packing::kStacked) return absl::OkStatus();
  if (weight.block_rows > weight.rows) {
    return Error(where,
                 absl::StrCat("block_rows ", weight.block_rows, " of ", weight.rows, " rows"));
  }
  if (weight.block_rows < weight.rows && weight.block_rows * row % kBlockBytesMultiple != 0) {
    return Error(where, absl::StrCat("blocks of ", weight.block_rows * row,
                                     " bytes, which is no multiple of ", kBlockBytesMultiple));
  }
  return absl::OkStatus();
}

absl::Status CheckTensor(const Manifest& manifest, const ManifestWeight& weight, int64_t index,
                         const std::string& where) {
  const ManifestTensor& tensor = weight.tensors[static_cast<size_t>(index)];
  const std::string at = absl::StrCat(where, ": tensor ", Quote(tensor.name));
  if (tensor.name != weight.tensor_name(index)) {
    return Error(at, absl::StrCat("expected ", Quote(weight.tensor_name(index))));
  }
  if (tensor.bytes != weight.tensor_bytes(index)) {
    return Error(
        at, absl::StrCat("has ", tensor.bytes, " bytes, its shape ", weight.tensor_bytes(index)));
  }
  if (tensor.shard > static_cast<int64_t>(manifest.shards.size())) {
    return Error(at, absl::StrCat("in shard ", tensor.shard, " of ", manifest.shards.size()));
  }
  const ManifestShard& shard = manifest.shards[static_cast<size_t>(tensor.shard - 1)];
  if (tensor.offset < shard.header_bytes || tensor.offset + tensor.bytes > shard.bytes) {
    return Error(at, absl::StrCat("bytes [", tensor.offset, ", ", tensor.offset + tensor.bytes,
                                  ") are not inside the data of ", Quote(shard.file), ", [",
                                  shard.header_bytes, ", ", shard.bytes, ")"));
  }
  const int64_t alignment = weight.blocks() ? kBlockAlignment : kNativeTensorAlignment;
  if (tensor.offset % alignment != 0) {
    return Error(at, absl::StrCat("offset ", tensor.offset, " is no multiple of ", alignment));
  }
  const int64_t checksums = (tensor.bytes + kChecksumBytes - 1) / kChecksumBytes;
  if (static_cast<int64_t>(tensor.checksums.size()) != checksums) {
    return Error(at, absl::StrCat("has ", tensor.checksums.size(), " checksums, its ", tensor.bytes,
                                  " bytes need ", checksums));
  }
  return absl::OkStatus();
}

// All that makes up where the bytes of a weight's elements are, but the tensors themselves.
auto Shape(const ManifestWeight& w) {
  return std::tuple(w.packing, w.dtype, w.stack, w.rows, w.cols, w.pre_width, w.width, w.row_stride,
                    w.block_rows);
}

using WeightsByName = std::map<std::string, const ManifestWeight*>;

absl::Status CheckWeight(const Manifest& manifest, const ManifestWeight& weight,
                         const WeightsByName& by_name, const std::string& file) {
  const std::string where = absl::StrCat(file, ": weight ", Quote(weight.name));
  if (absl::Status status = CheckShape(weight, where); !status.ok()) return status;
  if (!weight.same_as.empty()) {
    const auto other = by_name.find(weight.same_as);
    if (other == by_name.end() || !other->second->same_as.empty() ||
        Shape(*other->second) != Shape(weight)) {
      return Error(where, absl::StrCat("same_as ", Quote(weight.same_as),
                                       ", which is no weight of this shape with tensors"));
    }
    return absl::OkStatus();
  }
  const auto count = static_cast<int64_t>(weight.tensors.size());
  if (count != weight.tensor_count()) {
    return Error(where, absl::StrCat("has ", count, " tensors, its shape ", weight.tensor_count()));
  }
  for (int64_t i = 0; i < count; ++i) {
    if (absl::Status status = CheckTensor(manifest, weight, i, where); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status CheckOverlap(const Manifest& manifest, const std::string& file) {
  std::vector<const ManifestTensor*> tensors;
  for (const ManifestWeight& weight : manifest.weights) {
    for (const ManifestTensor& tensor : weight.tensors) tensors.push_back(&tensor);
  }
  if (static_cast<int64_t>(tensors.size()) > kMostNativeTensors) {
    return Error(file, absl::StrCat("more than ", kMostNativeTensors, " tensors"));
  }
  std::sort(tensors.begin(), tensors.end(), [](const auto* a, const auto* b) {
    return std::pair(a->shard, a->offset) < std::pair(b->shard, b->offset);
  });
  for (size_t i = 1; i < tensors.size(); ++i) {
    const ManifestTensor& before = *tensors[i - 1];
    const ManifestTensor& tensor = *tensors[i];
    if (tensor.shard == before.shard && tensor.offset < before.offset + before.bytes) {
      return Error(
          file, absl::StrCat("tensor ", Quote(tensor.name), " at ", tensor.offset, " overlaps ",
                             Quote(before.name), ", which ends at ", before.offset + before.bytes));
    }
  }
  // Two weights' tensors may come to one name: "a.1" of a stack, and a matrix called so.
  std::sort(tensors.begin(), tensors.end(),
            [](const auto* a, const auto* b) { return a->name < b->name; });
  for (size_t i = 1; i < tensors.size(); ++i) {
    if (tensors[i]->name == tensors[i - 1]->name) {
      return Error(file, absl::StrCat("tensor ", Quote(tensors[i]->name), " is listed twice"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckManifest(const Manifest& manifest, const std::string& file) {
  if (absl::Status status = CheckNames(manifest, file); !status.ok()) return status;
  WeightsByName by_name;
  for (const ManifestWeight& weight : manifest.weights) {
    if (!by_name.emplace(weight.name, &weight).second) {
      return Error(file, absl::StrCat("weight ", Quote(weight.name), " is listed twice"));
    }
  }
  for (const ManifestWeight& weight : manifest.weights) {
    if (absl::Status status = CheckWeight(manifest, weight, by_name, file); !status.ok()) {
      return status;
    }
  }
  return CheckOverlap(manifest, file);
}

}  // namespace mneme::loader
