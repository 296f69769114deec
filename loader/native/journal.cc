#include "loader/native/journal.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
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
constexpr int64_t kVersion = 1;

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

absl::Status ReadFinished(const JsonField& field, Journal* out) {
  return field.ForEach([&](const JsonField& entry) {
    int64_t shard = 0;
    ShardChecksums checksums;
    const auto tensor = [](const JsonField& list, std::vector<std::string>* sums) {
      return ReadList<std::string>(
          list, kMostCount / kChecksumBytes,
          [](const JsonField& f, std::string* sum) { return ReadHex(f, 16, sum); }, sums);
    };
    absl::Status status =
        All({[&] {
               return entry.NoOtherMembers({"shard", "checksums"});
             },
             [&] { return ReadCount(entry.Member("shard"), 1, &shard); },
             [&] {
               return ReadList<std::vector<std::string>>(entry.Member("checksums"),
                                                         kMostNativeTensors, tensor, &checksums);
             }});
    if (!status.ok()) return status;
    if (shard > out->shards || !out->finished.emplace(shard, std::move(checksums)).second) {
      return entry.Member("shard").Error(
          absl::StrCat("shard ", shard, " of ", out->shards, " is none, or listed twice"));
    }
    return absl::OkStatus();
  });
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
  json["finished"] = Json::array();
  for (const auto& [shard, checksums] : finished) {
    json["finished"].push_back({{"shard", shard}, {"checksums", checksums}});
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

absl::StatusOr<Journal> Journal::Parse(std::string_view text, const std::string& file) {
  const absl::StatusOr<JsonDocument> document = JsonDocument::Parse(text, file);
  if (!document.ok()) return document.status();
  const JsonField root(document->root(), &file);
  if (root.value().kind() != JsonKind::kObject) {
    return root.Expected("an object");
  }
  std::string format;
  int64_t version = 0;
  Journal journal;
  absl::Status status = All({
      [&] { return ReadText(root.Member("format"), kMostKeyBytes, &format); },
      [&] {
        return format == kFormat ? absl::OkStatus()
                                 : root.Member("format").Expected(Quote(kFormat));
      },
      [&] { return ReadCount(root.Member("version"), 1, &version); },
      [&] {
        return version <= kVersion ? absl::OkStatus()
                                   : absl::FailedPreconditionError(absl::StrCat(
                                         file, ": version ", version,
                                         " is newer than this build reads (", kVersion, ")"));
      },
      [&] {
        return root.NoOtherMembers(
            {"format", "version", "conversion", "source", "options", "shards", "finished"});
      },
      [&] { return ReadHex(root.Member("conversion"), 32, &journal.conversion); },
      [&] {
        return ReadList<JournalSource>(root.Member("source"), kMostListed, ReadSource,
                                       &journal.source);
      },
      [&] { return ReadOptions(root.Member("options"), &journal); },
      [&] { return ReadCount(root.Member("shards"), 0, &journal.shards); },
      [&] { return ReadFinished(root.Member("finished"), &journal); },
  });
  if (!status.ok()) return status;
  return journal;
}

namespace {

// "WHAT: THEN when the conversion began, NOW now".
template <class T>
std::string Changed(const std::string& what, const T& then, const T& now) {
  return absl::StrCat(what, ": ", then, " when the conversion began, ", now, " now");
}

std::string SourceDifference(const JournalSource& then, const JournalSource& now) {
  if (then.bytes != now.bytes) return Changed(then.name + ": bytes", then.bytes, now.bytes);
  if (then.hash != now.hash) return Changed(then.name + ": hash", then.hash, now.hash);
  if (then.modified != now.modified) {
    return Changed(then.name + ": modified", then.modified, now.modified);
  }
  return "";
}

}  // namespace

std::string JournalDifference(const Journal& then, const Journal& now) {
  std::vector<std::string> names[2];
  for (const JournalSource& file : then.source) names[0].push_back(file.name);
  for (const JournalSource& file : now.source) names[1].push_back(file.name);
  if (names[0] != names[1]) {
    return Changed("source files", absl::StrJoin(names[0], " "), absl::StrJoin(names[1], " "));
  }
  for (size_t i = 0; i < now.source.size(); ++i) {
    std::string difference = SourceDifference(then.source[i], now.source[i]);
    if (!difference.empty()) return difference;
  }
  if (then.dtype != now.dtype) {
    return Changed<std::string>("--dtype", ManifestDTypeName(then.dtype),
                                ManifestDTypeName(now.dtype));
  }
  if (then.ignored_config_keys != now.ignored_config_keys) {
    return Changed("ignored config keys",
                   absl::StrCat("[", absl::StrJoin(then.ignored_config_keys, " "), "]"),
                   absl::StrCat("[", absl::StrJoin(now.ignored_config_keys, " "), "]"));
  }
  if (then.shard_bytes != now.shard_bytes) {
    return Changed("bytes of a shard", then.shard_bytes, now.shard_bytes);
  }
  if (then.conversion != now.conversion) {
    return Changed("conversion", then.conversion, now.conversion);
  }
  if (then.shards != now.shards) return Changed("shards", then.shards, now.shards);
  return "";
}

}  // namespace mneme::loader
