// The directory of a zip file of stored (uncompressed) records, as torch.save writes them.
// Format: PKWARE's APPNOTE.TXT, sections 4.3 and 4.5.3 (zip64). One disk; no encryption.
#ifndef MNEME_LOADER_TORCH_PICKLE_ZIP_ARCHIVE_H_
#define MNEME_LOADER_TORCH_PICKLE_ZIP_ARCHIVE_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace mneme::loader {

struct ZipRecord {
  int method = 0;                  // 0: stored
  bool encrypted = false;          // then, or when compressed, bytes are of no use
  std::span<const uint8_t> bytes;  // of the file, as they lie there
};

// Records by name. INVALID_ARGUMENT, without the file's name, when the end record is missing (a
// file cut short), the central directory and the local headers disagree, records overlap or leave
// the file, or names repeat. Linear in the directory (n log n in its records). `file` must outlive
// the result.
absl::StatusOr<std::map<std::string, ZipRecord>> ReadZipDirectory(std::span<const uint8_t> file);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_TORCH_PICKLE_ZIP_ARCHIVE_H_
