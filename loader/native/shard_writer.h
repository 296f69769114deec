// One shard, from the checkpoint to a file.
#ifndef MNEME_LOADER_NATIVE_SHARD_WRITER_H_
#define MNEME_LOADER_NATIVE_SHARD_WRITER_H_

#include <atomic>
#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"
#include "loader/native/journal.h"
#include "loader/native/output_file.h"
#include "loader/native/shard_plan.h"
#include "loader/native/weight_rows.h"

namespace mneme::loader {

struct ShardWriterHooks {
  // Called now and then with how many bytes were written since the last call; by one thread.
  std::function<void(int64_t bytes)> on_bytes;
  // Becomes true when the work shall stop.
  const std::atomic<bool>* stop = nullptr;
};

// Writes header and tensors of plan.shards[shard] into `file`, of the shard's size, and returns
// their checksums. The next piece is read and converted by a second thread while one is written.
// Memory: three pieces of 16 MiB (or of one row), and what WeightRows holds. CANCELLED when told to
// stop, else the file's errors; it is not committed.
absl::StatusOr<ShardChecksums> WriteShard(const ShardPlan& plan, int64_t shard, WeightRows* rows,
                                          OutputFile* file, const ShardWriterHooks& hooks);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_NATIVE_SHARD_WRITER_H_
