// What a conversion converts: which files with which contents, and that they stay so while it runs.
#ifndef MNEME_LOADER_NATIVE_CONVERSION_SOURCE_H_
#define MNEME_LOADER_NATIVE_CONVERSION_SOURCE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "loader/checkpoint/checkpoint.h"
#include "loader/files/file_state.h"
#include "loader/native/journal.h"

namespace mneme::loader {

// Of a tensor so many bytes at a place are looked at, at so many places at most, evenly spaced from
// its first bytes to its last ones; at fewer (but at one) where so many tensors would need more
// than kMostSamples in all, which are 64 MiB.
inline constexpr int64_t kSampleBytes = 4096;
inline constexpr int64_t kMostSamplesOfTensor = 16;
inline constexpr int64_t kMostSamples = 16'384;

// Of a config or a tokenizer; the largest published tokenizers have some 30 MB.
inline constexpr int64_t kMostCopiedBytes = int64_t{256} << 20;

struct ConversionSource {
  // The config, the files of tensors, then the other files that are copied. The hash of a copied
  // file is that of its text (ChecksumOf); of a file of tensors it is of their names, types,
  // shapes, places and samples.
  std::vector<JournalSource> files;
  // When the config was read and files of tensors were mapped; of the others when they were hashed.
  std::vector<FileState> states;
  // Of `files` those to be copied, the config first.
  std::vector<JournalSource> copies;
};

// INVALID_ARGUMENT naming the values for more than 65,536 files or ignored config keys, and for
// names and keys that a manifest cannot hold (empty, of more than 1024 bytes, not UTF-8);
// FAILED_PRECONDITION for a file that has changed since the checkpoint was inspected; else
// the system's error. All name the file.
absl::StatusOr<ConversionSource> ReadConversionSource(const Checkpoint& checkpoint);

// FAILED_PRECONDITION naming the file and both values when one of the files is another one by now,
// or was written into; the system's error when one is gone.
absl::Status CheckUnchanged(const ConversionSource& source);

// Names that would be copied, but the source has no such files.
std::vector<std::string> NamesNotCopied(const ConversionSource& source);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_NATIVE_CONVERSION_SOURCE_H_
