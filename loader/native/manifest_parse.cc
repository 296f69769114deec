// From text to a Manifest: each member by itself. What they say of each other is checked in
// manifest_check.cc.
#include <initializer_list>

#include "absl/strings/str_cat.h"
#include "loader/files/file_name.h"
#include "loader/files/mapped_file.h"
#include "loader/json/json_document.h"
#include "loader/json/json_field.h"
#include "loader/native/json_members.h"
#include "loader/native/manifest.h"
#include "loader/native/manifest_check.h"
#include "loader/text/text.h"

namespace mneme::loader {
namespace {

using native_internal::All;
using native_internal::kMostCount;
using native_internal::kMostKeyBytes;
using native_internal::kMostListed;
using native_internal::ReadCount;
using native_internal::ReadHex;
using native_internal::ReadList;
using native_internal::ReadName;
using native_internal::ReadText;

absl::Status ReadFileName(const JsonField& field, std::string* out) {
  if (absl::Status status = ReadText(field, kMostNameBytes, out); !status.ok()) return status;
  if (IsPlainName(*out)) return absl::OkStatus();
  return field.Expected(
      "a plain file name of letters, digits and . - _ +, beginning with neither . nor -");
}

// A file of the source may have any name: nobody opens it.
absl::Status ReadSource(const JsonField& field, ManifestFile* out) {
  return All({[&] {
                return field.NoOtherMembers({"name", "bytes", "hash"});
              },
              [&] { return ReadText(field.Member("name"), kMostKeyBytes, &out->name); },
              [&] { return ReadCount(field.Member("bytes"), 0, &out->bytes); },
              [&] { return ReadHex(field.Member("hash"), 16, &out->hash); }});
}

absl::Status ReadCopy(const JsonField& field, ManifestFile* out) {
  if (absl::Status status = ReadSource(field, out); !status.ok()) return status;
  return ReadFileName(field.Member("name"), &out->name);
}

absl::Status ReadShard(const JsonField& field, ManifestShard* out) {
  return All({[&] {
                return field.NoOtherMembers({"file", "bytes", "header_bytes", "header_checksum"});
              },
              [&] { return ReadFileName(field.Member("file"), &out->file); },
              [&] { return ReadCount(field.Member("bytes"), 1, &out->bytes); },
              [&] { return ReadCount(field.Member("header_bytes"), 1, &out->header_bytes); },
              [&] { return ReadHex(field.Member("header_checksum"), 16, &out->header_checksum); }});
}

absl::Status ReadTensor(const JsonField& field, ManifestTensor* out) {
  const auto checksum = [](const JsonField& f, std::string* text) { return ReadHex(f, 16, text); };
  return All({[&] {
                return field.NoOtherMembers({"name", "shard", "offset", "bytes", "checksums"});
              },
              [&] { return ReadText(field.Member("name"), kMostKeyBytes, &out->name); },
              [&] { return ReadCount(field.Member("shard"), 1, &out->shard); },
              [&] { return ReadCount(field.Member("offset"), 1, &out->offset); },
              [&] { return ReadCount(field.Member("bytes"), 1, &out->bytes); },
              [&] {
                return ReadList<std::string>(field.Member("checksums"), kMostCount / kChecksumBytes,
                                             checksum, &out->checksums);
              }});
}

// The sizes that this packing has.
absl::Status ReadShape(const JsonField& field, ManifestWeight* out) {
  const bool table = out->packing == Packing::kInterleavedRows;
  const bool stacked = out->packing == Packing::kStacked;
  absl::Status status = All({
      [&] {
        if (table) {
          return field.NoOtherMembers({"name", "packing", "dtype", "rows", "pre_width", "width",
                                       "row_stride", "block_rows", "tensors", "same_as"});
        }
        return field.NoOtherMembers({"name", "packing", "dtype", "rows", "cols",
                                     stacked ? "stack" : "block_rows", "tensors", "same_as"});
      },
      [&] { return ReadCount(field.Member("rows"), 1, &out->rows); },
  });
  if (!status.ok()) return status;
  if (stacked) {
    return All({[&] { return ReadCount(field.Member("stack"), 1, &out->stack); },
                [&] { return ReadCount(field.Member("cols"), 1, &out->cols); }});
  }
  out->block_rows = out->rows;
  if (table) {
    return All({[&] { return ReadCount(field.Member("pre_width"), 0, &out->pre_width); },
                [&] { return ReadCount(field.Member("width"), 1, &out->width); },
                [&] { return ReadCount(field.Member("row_stride"), 1, &out->row_stride); },
                [&] { return ReadCount(field.Member("block_rows"), 1, &out->block_rows); }});
  }
  status = ReadCount(field.Member("cols"), 1, &out->cols);
  if (!status.ok() || field.Member("block_rows").IsNull()) return status;
  return ReadCount(field.Member("block_rows"), 1, &out->block_rows);
}

absl::Status ReadWeight(const JsonField& field, ManifestWeight* out) {
  if (absl::Status status =
          field.NoOtherMembers({"name", "packing", "dtype", "stack", "rows", "cols", "pre_width",
                                "width", "row_stride", "block_rows", "tensors", "same_as"});
      !status.ok()) {
    return status;
  }
  absl::Status status =
      All({[&] { return ReadText(field.Member("name"), kMostKeyBytes, &out->name); },
           [&] {
             return ReadName<Packing>(
                 field.Member("packing"),
                 {Packing::kRowMajor, Packing::kStacked, Packing::kInterleavedRows}, PackingName,
                 &out->packing);
           },
           [&] {
             return ReadName<StoredDType>(
                 field.Member("dtype"), {StoredDType::kF32, StoredDType::kBf16, StoredDType::kI32},
                 StoredDTypeName, &out->dtype);
           },
           [&] { return ReadShape(field, out); }});
  if (!status.ok()) return status;
  const JsonField tensors = field.Member("tensors");
  const JsonField same_as = field.Member("same_as");
  if (tensors.IsNull() == same_as.IsNull()) {
    return field.Error("expected either tensors or same_as");
  }
  if (!same_as.IsNull()) return ReadText(same_as, kMostKeyBytes, &out->same_as);
  return ReadList<ManifestTensor>(tensors, kMostNativeTensors, ReadTensor, &out->tensors);
}

absl::Status ReadOptions(const JsonField& field, Manifest* out) {
  return All(
      {[&] {
         return field.NoOtherMembers({"dtype", "ignored_config_keys"});
       },
       [&] {
         return ReadName<Manifest::DType>(
             field.Member("dtype"),
             {Manifest::DType::kStored, Manifest::DType::kBf16, Manifest::DType::kF32},
             ManifestDTypeName, &out->dtype);
       },
       [&] {
         return ReadList<std::string>(
             field.Member("ignored_config_keys"), kMostListed,
             [](const JsonField& f, std::string* s) { return ReadText(f, kMostKeyBytes, s); },
             &out->ignored_config_keys);
       }});
}

// Before anything else is looked at: another format, or a later version of this one, has other
// members.
absl::Status CheckVersion(const JsonField& root, const std::string& file) {
  const absl::StatusOr<std::string_view> format = root.Member("format").String();
  if (!format.ok()) return format.status();
  if (*format != "mneme") return root.Member("format").Expected("\"mneme\"");
  const absl::StatusOr<int64_t> version = root.Member("version").Integer(kMostCount);
  if (!version.ok()) return version.status();
  if (*version > kNativeVersion) {
    return absl::FailedPreconditionError(absl::StrCat(
        file, ": version ", *version, " is newer than this build reads (", kNativeVersion, ")"));
  }
  if (*version < 1) return root.Member("version").Expected("an integer of 1 or more");
  return absl::OkStatus();
}

absl::Status ReadMembers(const JsonField& root, Manifest* out) {
  return All({[&] {
                return root.NoOtherMembers({"format", "version", "conversion", "source", "options",
                                            "config", "copies", "shards", "weights"});
              },
              [&] { return ReadHex(root.Member("conversion"), 32, &out->conversion); },
              [&] {
                return ReadList<ManifestFile>(root.Member("source"), kMostListed, ReadSource,
                                              &out->source);
              },
              [&] { return ReadOptions(root.Member("options"), out); },
              [&] { return ReadFileName(root.Member("config"), &out->config); },
              [&] {
                return ReadList<ManifestFile>(root.Member("copies"), kMostListed, ReadCopy,
                                              &out->copies);
              },
              [&] {
                return ReadList<ManifestShard>(root.Member("shards"), kMostShards, ReadShard,
                                               &out->shards);
              },
              [&] {
                return ReadList<ManifestWeight>(root.Member("weights"), kMostNativeTensors,
                                                ReadWeight, &out->weights);
              }});
}

}  // namespace

absl::StatusOr<Manifest> Manifest::Parse(std::string_view text, const std::string& file) {
  if (static_cast<int64_t>(text.size()) > kMostManifestBytes) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": has ", text.size(), " bytes; at most ",
                                                   kMostManifestBytes, " are allowed"));
  }
  const absl::StatusOr<JsonDocument> document = JsonDocument::Parse(text, file);
  if (!document.ok()) return document.status();
  const JsonField root(document->root(), &file);
  if (root.value().kind() != JsonKind::kObject) {
    return root.Expected("an object");
  }
  if (absl::Status status = CheckVersion(root, file); !status.ok()) return status;
  Manifest manifest;
  if (absl::Status status = ReadMembers(root, &manifest); !status.ok()) return status;
  if (absl::Status status = CheckManifest(manifest, file); !status.ok()) return status;
  return manifest;
}

absl::StatusOr<Manifest> Manifest::Read(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/", kManifestName);
  const absl::StatusOr<std::string> text = ReadSmallFile(path, kMostManifestBytes);
  if (!text.ok()) return text.status();
  return Parse(*text, path);
}

}  // namespace mneme::loader
