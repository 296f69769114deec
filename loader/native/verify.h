// Whether a native folder is what its manifest says: what `mneme inspect --verify` does.
#ifndef MNEME_LOADER_NATIVE_VERIFY_H_
#define MNEME_LOADER_NATIVE_VERIFY_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "loader/native/manifest.h"

namespace mneme::loader {

struct VerifyOptions {
  int32_t threads = 1;
  // Now and then, from one thread at a time: bytes checked, of how many.
  std::function<void(int64_t done, int64_t total)> on_progress;
};

struct VerifyReport {
  std::string conversion;
  int64_t bytes = 0;  // of all files
  int64_t shards = 0;
  int64_t tensors = 0;
  // One sentence each, by file and offset: a copy or a header whose checksum is another, a block of
  // a tensor that is ("model-00001-of-00002.safetensors: tensor "head": block 3, bytes [8192,
  // 12288) of the file: checksum 0123…, the manifest says 4567…"), padding that is not zero, a file
  // that is missing, cut short or of another conversion. At most kMostDifferences; `differences`
  // counts them all.
  std::vector<std::string> messages;
  int64_t differences = 0;
  double seconds = 0;
  // Bytes per second at which the threads together read and check, and at which they only read:
  // every eighth 4 MiB are read once without looking at them before they are checked. Both are of
  // the first time that bytes are read, from wherever the system has them (memory or disk). 0 where
  // there is less than kLeastMeasured to go by.
  double checked_per_second = 0;
  double read_per_second = 0;
};

inline constexpr size_t kMostDifferences = 20;
inline constexpr int64_t kLeastMeasured = int64_t{16} << 20;

// Reads `directory`'s manifest. Without one the error of CheckUnfinished, or NOT_FOUND where
// nothing is a conversion's; else Parse's errors.
absl::StatusOr<Manifest> ReadManifest(const std::string& directory);

// Reads and checks everything. Differences are no error; the errors are those of ReadManifest, and
// of the system when it cannot open or read what is there. One file a thread is open at a time.
// Memory: the manifest, one header at a time, and a buffer of 256 KiB a thread.
// REQUIRES: threads >= 1.
absl::StatusOr<VerifyReport> VerifyNative(const std::string& directory,
                                          const VerifyOptions& options);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_NATIVE_VERIFY_H_
