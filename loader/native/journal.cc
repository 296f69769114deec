#include "loader/native/journal.h"

#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "loader/json/json_document.h"
#include "loader/json/json_field.h"
#include "loader/native/json_members.h"
#include "loader/text/text.h"
#include "nlohmann/json.hpp"

namespace mneme::loader {
namespace {

using Json = nlohmann::ordered_json;
using native_internal::All;
using native_internal::kMostCount;
using native_internal::kMostKeyBytes;
using native_internal::kMostListed;
using native_internal::ReadCount;
using native_internal::ReadHex;
using native_internal::ReadList;
using native_internal::ReadName;
using native_internal::ReadText;

constexpr char kFormat[] = "mneme conversion";
constexpr int64_t kVersion = 2;

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

absl::Status ReadSource(const JsonField& field, JournalSource* out) {
  return All({[&] {
                return field.NoOtherMembers({"name", "bytes", "modified", "hash"});
              },
              [&] { return ReadText(field.Member("name"), kMostKeyBytes, &out->name); },
              [&] { return ReadCount(field.Member("bytes"), 0, &out->bytes); },
              [&] { return ReadText(field.Member("modified"), kMostKeyBytes, &out->modified); },
              [&] { return ReadHex(field.Member("hash"), 16, &out->hash); }});
}

absl::Status ReadOptions(const JsonField& field, Journal* out) {
  const auto key = [](const JsonField& f, std::string* text) {
    return ReadText(f, kMostKeyBytes, text);
  };
  return All({[&] {
                return field.NoOtherMembers({"dtype", "ignored_config_keys", "shard_bytes"});
              },
              [&] {
                return ReadName<Manifest::DType>(
                    field.Member("dtype"),
                    {Manifest::DType::kStored, Manifest::DType::kBf16, Manifest::DType::kF32},
                    ManifestDTypeName, &out->dtype);
              },
              [&] {
                return ReadList<std::string>(field.Member("ignored_config_keys"), kMostListed, key,
                                             &out->ignored_config_keys);
              },
              [&] { return ReadCount(field.Member("shard_bytes"), 1, &out->shard_bytes); }});
}

absl::Status ReadFinished(const JsonField& line, Journal* out) {
  int64_t shard = 0;
  ShardChecksums checksums;
  const auto tensor = [](const JsonField& list, std::vector<std::string>* sums) {
    return ReadList<std::string>(
        list, kMostCount / kChecksumBytes,
        [](const JsonField& f, std::string* sum) { return ReadHex(f, 16, sum); }, sums);
  };
  absl::Status status =
      All({[&] {
             return line.NoOtherMembers({"shard", "checksums"});
           },
           [&] { return ReadCount(line.Member("shard"), 1, &shard); },
           [&] {
             return ReadList<std::vector<std::string>>(line.Member("checksums"), kMostNativeTensors,
                                                       tensor, &checksums);
           }});
  if (!status.ok()) return status;
  if (shard > out->shards || !out->finished.emplace(shard, std::move(checksums)).second) {
    return line.Member("shard").Error(
        absl::StrCat("shard ", shard, " of ", out->shards, " is none, or listed twice"));
  }
  return absl::OkStatus();
}

absl::Status ReadVersion(const JsonField& field, const std::string& file) {
  int64_t version = 0;
  if (absl::Status status = ReadCount(field, 1, &version); !status.ok()) return status;
  if (version == kVersion) return absl::OkStatus();
  return absl::FailedPreconditionError(
      version > kVersion
          ? absl::StrCat(file, ": version ", version, " is newer than this build reads (", kVersion,
                         ")")
          : absl::StrCat(file, ": version ", version, " is of an earlier build, this one goes on ",
                         "with version ", kVersion));
}

absl::Status ReadHeader(const JsonField& root, const std::string& file, Journal* out) {
  std::string format;
  return All({
      [&] { return ReadText(root.Member("format"), kMostKeyBytes, &format); },
      [&] {
        return format == kFormat ? absl::OkStatus()
                                 : root.Member("format").Expected(Quote(kFormat));
      },
      [&] { return ReadVersion(root.Member("version"), file); },
      [&] {
        return root.NoOtherMembers(
            {"format", "version", "conversion", "source", "options", "shards"});
      },
      [&] { return ReadHex(root.Member("conversion"), 32, &out->conversion); },
      [&] {
        return ReadList<JournalSource>(root.Member("source"), kMostListed, ReadSource,
                                       &out->source);
      },
      [&] { return ReadOptions(root.Member("options"), out); },
      [&] { return ReadCount(root.Member("shards"), 0, &out->shards); },
  });
}

// One line through `read`, which gets its object.
absl::Status ReadLine(const JsonDocument& document, const std::string& where,
                      const std::function<absl::Status(const JsonField&)>& read) {
  const JsonField root(document.root(), &where);
  return root.value().kind() == JsonKind::kObject ? read(root) : root.Expected("an object");
}

}  // namespace

std::string Journal::Print() const {
  Json json = {{"format", kFormat}, {"version", kVersion}, {"conversion", conversion}};
  json["source"] = Json::array();
  for (const JournalSource& file : source) {
    json["source"].push_back({{"name", file.name},
                              {"bytes", file.bytes},
                              {"modified", file.modified},
                              {"hash", file.hash}});
  }
  json["options"] = {{"dtype", ManifestDTypeName(dtype)},
                     {"ignored_config_keys", ignored_config_keys},
                     {"shard_bytes", shard_bytes}};
  json["shards"] = shards;
  std::string text = Dump(json);
  for (const auto& [shard, checksums] : finished) text += PrintFinished(shard, checksums);
  return text;
}

std::string Journal::PrintFinished(int64_t shard, const ShardChecksums& checksums) {
  return Dump({{"shard", shard}, {"checksums", checksums}});
}

absl::StatusOr<Journal> Journal::Parse(std::string_view text, const std::string& file) {
  Journal journal;
  for (int64_t number = 1; number == 1 || !text.empty(); ++number) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const bool last = number > 1 && text.empty();
    if (last && end == std::string_view::npos) break;  // torn
    const std::string where = number == 1 ? file : absl::StrCat(file, ":", number);
    const absl::StatusOr<JsonDocument> document = JsonDocument::Parse(line, where);
    if (!document.ok() && last) break;  // torn, and only its end came to the disk
    if (!document.ok()) return document.status();
    absl::Status status = ReadLine(*document, where, [&](const JsonField& root) {
      return number == 1 ? ReadHeader(root, file, &journal) : ReadFinished(root, &journal);
    });
    if (!status.ok()) return status;
  }
  return journal;
}

bool Journal::SaysItIsOne(std::string_view text) {
  const std::string where;
  const absl::StatusOr<JsonDocument> document =
      JsonDocument::Parse(text.substr(0, text.find('\n')), where);
  if (!document.ok() || document->root().kind() != JsonKind::kObject) return false;
  const auto format = JsonField(document->root(), &where).Member("format").String();
  return format.ok() && *format == kFormat;
}

}  // namespace mneme::loader
