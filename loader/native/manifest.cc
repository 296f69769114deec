#include "loader/native/manifest.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace mneme::loader {
namespace {

using Json = nlohmann::ordered_json;

Json ToJson(const ManifestFile& file) {
  return {{"name", file.name}, {"bytes", file.bytes}, {"hash", file.hash}};
}

Json ToJson(const ManifestShard& shard) {
  return {{"file", shard.file},
          {"bytes", shard.bytes},
          {"header_bytes", shard.header_bytes},
          {"header_checksum", shard.header_checksum}};
}

Json ToJson(const ManifestTensor& tensor) {
  return {{"name", tensor.name},
          {"shard", tensor.shard},
          {"offset", tensor.offset},
          {"bytes", tensor.bytes},
          {"checksums", tensor.checksums}};
}

// All but the tensors.
Json ToJson(const ManifestWeight& weight) {
  Json json = {{"name", weight.name},
               {"packing", PackingName(weight.packing)},
               {"dtype", StoredDTypeName(weight.dtype)}};
  if (weight.packing == Packing::kStacked) json["stack"] = weight.stack;
  json["rows"] = weight.rows;
  if (weight.packing == Packing::kInterleavedRows) {
    json["pre_width"] = weight.pre_width;
    json["width"] = weight.width;
    json["row_stride"] = weight.row_stride;
  } else {
    json["cols"] = weight.cols;
  }
  if (weight.blocks()) json["block_rows"] = weight.block_rows;
  if (!weight.same_as.empty()) json["same_as"] = weight.same_as;
  return json;
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// "NAME": [ITEM, …] with an item a line.
template <class T>
void AppendList(const char* name, const std::vector<T>& items, std::string* text) {
  absl::StrAppend(text, "  \"", name, "\": [");
  for (size_t i = 0; i < items.size(); ++i) {
    absl::StrAppend(text, i == 0 ? "\n    " : ",\n    ", Dump(ToJson(items[i])));
  }
  absl::StrAppend(text, items.empty() ? "],\n" : "\n  ],\n");
}

// A weight in a line, and each of its tensors in one.
void AppendWeight(const ManifestWeight& weight, std::string* text) {
  std::string line = Dump(ToJson(weight));
  if (weight.same_as.empty()) {
    line.pop_back();  // the brace
    absl::StrAppend(&line, ",\"tensors\":[");
    for (size_t i = 0; i < weight.tensors.size(); ++i) {
      absl::StrAppend(&line, i == 0 ? "\n      " : ",\n      ", Dump(ToJson(weight.tensors[i])));
    }
    absl::StrAppend(&line, "]}");
  }
  absl::StrAppend(text, line);
}

}  // namespace

const char* PackingName(Packing packing) {
  switch (packing) {
    case Packing::kRowMajor:
      return "row_major";
    case Packing::kStacked:
      return "stacked";
    case Packing::kInterleavedRows:
      return "interleaved_rows";
  }
  return "unknown";
}

const char* ManifestDTypeName(Manifest::DType dtype) {
  switch (dtype) {
    case Manifest::DType::kStored:
      return "stored";
    case Manifest::DType::kBf16:
      return "bf16";
    case Manifest::DType::kF32:
      return "f32";
  }
  return "unknown";
}

int64_t ManifestWeight::row_bytes() const {
  return packing == Packing::kInterleavedRows ? row_stride : cols * StoredDTypeBytes(dtype);
}

int64_t ManifestWeight::tensor_count() const {
  if (packing == Packing::kStacked) return stack;
  return rows / block_rows + (rows % block_rows != 0 ? 1 : 0);
}

std::string ManifestWeight::tensor_name(int64_t index) const {
  if (blocks()) return absl::StrCat(name, ".block.", index);
  return packing == Packing::kStacked ? absl::StrCat(name, ".", index) : name;
}

int64_t ManifestWeight::tensor_rows(int64_t index) const {
  if (packing == Packing::kStacked) return rows;
  return std::min(block_rows, rows - index * block_rows);
}

std::string Manifest::Print() const {
  std::string text = "{\n";
  absl::StrAppend(&text, "  \"format\": \"mneme\",\n  \"version\": ", kNativeVersion, ",\n");
  absl::StrAppend(&text, "  \"conversion\": ", Dump(conversion), ",\n");
  AppendList("source", source, &text);
  const Json options = {{"dtype", ManifestDTypeName(dtype)},
                        {"ignored_config_keys", ignored_config_keys}};
  absl::StrAppend(&text, "  \"options\": ", Dump(options), ",\n");
  absl::StrAppend(&text, "  \"config\": ", Dump(config), ",\n");
  AppendList("copies", copies, &text);
  AppendList("shards", shards, &text);
  absl::StrAppend(&text, "  \"weights\": [");
  for (size_t i = 0; i < weights.size(); ++i) {
    absl::StrAppend(&text, i == 0 ? "\n    " : ",\n    ");
    AppendWeight(weights[i], &text);
  }
  absl::StrAppend(&text, weights.empty() ? "]\n}\n" : "\n  ]\n}\n");
  return text;
}

}  // namespace mneme::loader
