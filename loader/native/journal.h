// convert.journal.json: how far a conversion is, in the folder that it writes, so that one that was
// stopped or killed goes on where it was. Lines of JSON, removed at the end: the first is written
// whole before anything else, then one is appended and synced for each shard that is finished.
//
//   {"format": "mneme conversion", "version": 2, "conversion": "0123…",
//    "source": [{"name": "config.yaml", "bytes": 10, "modified": "2026-01-31T23:59:59.123456789Z",
//                "hash": "0123…"}, …],
//    "options": {"dtype": "stored", "ignored_config_keys": [], "shard_bytes": 4294967296},
//    "shards": 7}
//   {"shard": 1, "checksums": [["0123…", …], …]}
//   …
//
// A crash may tear the line that was being appended: a last one that does not end in a line feed or
// is no JSON is as if it were not there. Any other line that is wrong is an error.
#ifndef MNEME_LOADER_NATIVE_JOURNAL_H_
#define MNEME_LOADER_NATIVE_JOURNAL_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "loader/native/manifest.h"

namespace mneme::loader {

inline constexpr char kJournalName[] = "convert.journal.json";

struct JournalSource {
  std::string name;
  int64_t bytes = 0;
  std::string modified;  // UTC, to the nanosecond
  std::string hash;

  bool operator==(const JournalSource&) const = default;
};

// Of a shard's tensors, in the order of its pieces, without paddings.
using ShardChecksums = std::vector<std::vector<std::string>>;

struct Journal {
  std::string conversion;
  std::vector<JournalSource> source;
  Manifest::DType dtype = Manifest::DType::kStored;
  std::vector<std::string> ignored_config_keys;
  int64_t shard_bytes = 0;
  int64_t shards = 0;
  std::map<int64_t, ShardChecksums> finished;  // by number of shard, from 1

  bool operator==(const Journal&) const = default;

  std::string Print() const;
  // The line of a finished shard, with its line feed: what Print ends in for the last one.
  static std::string PrintFinished(int64_t shard, const ShardChecksums& checksums);
  // INVALID_ARGUMENT naming file (of a shard's line FILE:LINE), member and value;
  // FAILED_PRECONDITION for another version.
  static absl::StatusOr<Journal> Parse(std::string_view text, const std::string& file);
  // Whether a text that Parse does not read says that it is one: of another version, or damaged.
  static bool SaysItIsOne(std::string_view text);
};

// Empty, or the first thing about source or options in which they differ, with both values:
// "--dtype: bf16 when the conversion began, f32 now".
std::string JournalDifference(const Journal& then, const Journal& now);

// The same of a conversion that is complete: "--dtype: bf16 when it was converted, f32 now". A
// manifest has no times, and no shard_bytes: of conversions that differ in nothing else the names
// are given.
std::string ManifestDifference(const Manifest& then, const Journal& now);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_NATIVE_JOURNAL_H_
