// A checkpoint in the form it is served in: what `mneme convert` does. docs/native-format.md says
// what the folder holds.
#ifndef MNEME_LOADER_NATIVE_CONVERT_H_
#define MNEME_LOADER_NATIVE_CONVERT_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "loader/checkpoint/checkpoint.h"
#include "loader/native/manifest.h"
#include "loader/native/shard_plan.h"

namespace mneme::loader {

struct ConvertOptions {
  Manifest::DType dtype = Manifest::DType::kStored;
  // Of a file at most. Another value gives another conversion.
  int64_t shard_bytes = kMostShardBytes;
};

struct ConvertHooks {
  // Before anything is written, and then now and then while shards are: bytes that are in place,
  // of how many. From the calling thread.
  std::function<void(int64_t done, int64_t total)> on_progress;
  // Set by another thread, or by a signal's: stop soon, and keep what is finished.
  const std::atomic<bool>* stop = nullptr;
};

struct ConvertReport {
  std::string conversion;
  int64_t shards = 0;
  int64_t bytes = 0;             // of all shards
  int64_t shards_before = 0;     // that earlier runs had finished
  bool complete_before = false;  // no shard was left to do
  // Copied files of a complete conversion that were missing or had been changed, and were copied
  // again.
  std::vector<std::string> renewed;
};

// Whether `source` may be converted into `out`: INVALID_ARGUMENT when it is native already
// (HasNativeManifest), or when
// `out` is `source` or inside it; both as the file system resolves them.
absl::Status CheckConvertFolders(const std::string& source, const std::string& out);

// Converts `checkpoint` into the folder `out`, which is made, with those around it, if it is not
// there, or goes on with a conversion that was stopped there. The same checkpoint and options give
// the same bytes, however often it was stopped.
//
// INVALID_ARGUMENT or FAILED_PRECONDITION for folders that cannot be used: one that holds anything
// else, or a conversion of another source or with other options; both values are named.
// INVALID_ARGUMENT for names and keys that a manifest cannot hold. FAILED_PRECONDITION when a file
// of the source is not what it was when the checkpoint was inspected: then there is no manifest.
// RESOURCE_EXHAUSTED with the bytes needed and free when there is no room; where they tell, before
// anything is written. FAILED_PRECONDITION where a file of this size is not allowed. CANCELLED when
// told to stop. Whatever shards were finished stay, and the next run goes on behind them; what was
// not finished is removed. ABORTED while another process converts there.
absl::StatusOr<ConvertReport> ConvertCheckpoint(const Checkpoint& checkpoint,
                                                const std::string& out,
                                                const ConvertOptions& options,
                                                const ConvertHooks& hooks);

// What loads the unconverted checkpoint to the same bits.
PackOptions PackOptionsOf(Manifest::DType dtype);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_NATIVE_CONVERT_H_
