// manifest.json of a native checkpoint: a folder that `mneme convert` wrote, with the weights in
// the kernels' own layouts, to be served from where they lie in its files. docs/native-format.md
// says what the folder as a whole guarantees; here is the one place that knows the text.
//
//   {
//     "format": "mneme",
//     "version": 1,
//     "conversion": "0123…",        32 hexadecimal digits, in the header of each shard, too
//     "source": [FILE, …],          the files that were converted: of a text the hash of it, of a
//                                   file of tensors that of header and samples (ConversionSource)
//     "options": {"dtype": "stored", "ignored_config_keys": []},
//     "config": "config.yaml",      the copied file that describes the model
//     "copies": [FILE, …],          files copied from the source as they are, with their hashes
//     "shards": [{"file": "model-00001-of-00002.safetensors", "bytes": 123456,
//                 "header_bytes": 4096, "header_checksum": "0123…"}, …],
//     "weights": [WEIGHT, …]
//   }
//   FILE = {"name": "config.yaml", "bytes": 10, "hash": "0123…"}
//   WEIGHT = {"name": "block.0.query", "packing": "row_major", "dtype": "BF16", "rows": 64,
//             "cols": 64, "tensors": [TENSOR]}
//          | {…, "block_rows": 32, "tensors": [TENSOR, …]}             a divided matrix
//          | {"packing": "stacked", …, "stack": 8, "rows", "cols", "tensors": [TENSOR, …]}
//          | {"packing": "interleaved_rows", …, "rows", "pre_width": 16, "width": 32,
//             "row_stride": 192, "block_rows": 1024, "tensors": [TENSOR, …]}
//          | any of them with "same_as": "embedding" in place of "tensors"
//   TENSOR = {"name": "block.0.query", "shard": 1, "offset": 4096, "bytes": 8192,
//             "checksums": ["0123…"]}
//
// All hashes and checksums are XXH3 of 64 bits as 16 lower-case hexadecimal digits. Members stand
// in any order; none is missing, repeated or unknown.
#ifndef MNEME_LOADER_NATIVE_MANIFEST_H_
#define MNEME_LOADER_NATIVE_MANIFEST_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "loader/checkpoint/stored_tensor.h"

namespace mneme::loader {

inline constexpr char kManifestName[] = "manifest.json";
// Of this format; a higher one is refused.
inline constexpr int64_t kNativeVersion = 1;

// A shard's tensors begin at a multiple of this: its header is padded with spaces.
inline constexpr int64_t kShardDataAlignment = 4096;
// Every tensor begins at a multiple of this in its file.
inline constexpr int64_t kNativeTensorAlignment = 64;
// Blocks (see Packing) begin at a multiple of this: the size of a huge page.
inline constexpr int64_t kBlockAlignment = int64_t{2} << 20;
// Every block but a weight's last has a multiple of this many bytes, so that a reader can map the
// blocks of several shards one behind the other.
inline constexpr int64_t kBlockBytesMultiple = 4096;
// Bytes that one checksum covers; a tensor's last one covers what is left.
inline constexpr int64_t kChecksumBytes = int64_t{64} << 20;

// Bounds of Parse.
inline constexpr int64_t kMostManifestBytes = 100'000'000;
inline constexpr int64_t kMostShards = 65'536;
inline constexpr int64_t kMostNativeTensors = 262'144;

// How a weight's elements lie. "Block" is a run of whole rows that is one tensor: `block_rows` of
// them, in a weight's last block what is left.
enum class Packing : uint8_t {
  // rows x cols without gaps: one tensor of shape [rows, cols], named like the weight; or, of a
  // matrix that no shard could hold, blocks [rows of the block, cols] named WEIGHT.block.0, ….
  kRowMajor,
  // `stack` matrices of rows x cols each: one tensor [rows, cols] each, named WEIGHT.0, WEIGHT.1,
  // …. Of a block's experts the gate, up and down matrices of expert 0 lie first, then those of
  // expert 1, …: an expert is one run of bytes, but for padding and where a shard ends.
  kStacked,
  // A value table: row r is pre_width pre-values, then width values, then zeros up to row_stride
  // bytes, a multiple of 64. Blocks [rows of the block, row_stride / element], named
  // WEIGHT.block.0, ….
  kInterleavedRows,
};
const char* PackingName(Packing packing);  // "row_major", …

struct ManifestFile {
  std::string name;  // of a copy IsPlainName
  int64_t bytes = 0;
  std::string hash;

  bool operator==(const ManifestFile&) const = default;
};

struct ManifestShard {
  std::string file;  // IsPlainName
  int64_t bytes = 0;
  // Of the eight bytes of length and the JSON text: where the tensors begin, a multiple of
  // kShardDataAlignment, at most what a safetensors header may have. header_checksum is over these
  // bytes.
  int64_t header_bytes = 0;
  std::string header_checksum;

  bool operator==(const ManifestShard&) const = default;
};

struct ManifestTensor {
  std::string name;    // in the shard's header
  int64_t shard = 1;   // shards[shard - 1]: they are counted from 1, as in their names
  int64_t offset = 0;  // of its first byte, from the beginning of the file
  int64_t bytes = 0;
  std::vector<std::string> checksums;  // of each kChecksumBytes of it

  bool operator==(const ManifestTensor&) const = default;
};

struct ManifestWeight {
  std::string name;  // WeightName
  Packing packing = Packing::kRowMajor;
  StoredDType dtype = StoredDType::kF32;  // kF32, kBf16 or kI32
  int64_t stack = 0;                      // kStacked: matrices; else 0
  int64_t rows = 0;                       // kStacked: of each matrix
  int64_t cols = 0;                       // kInterleavedRows: 0
  int64_t pre_width = 0;                  // kInterleavedRows: elements; else 0
  int64_t width = 0;
  int64_t row_stride = 0;  // kInterleavedRows: bytes; else 0
  int64_t block_rows = 0;  // rows of each block but the last; 0: kStacked. Undivided: rows
  std::vector<ManifestTensor> tensors = {};  // in the order of rows, or of matrices
  std::string same_as = {};  // a weight of the same shape with tensors: this one is the same bytes

  bool operator==(const ManifestWeight&) const = default;

  // Bytes from one row to the next.
  int64_t row_bytes() const;
  // How many tensors there are, each one's name, rows and bytes, by the shape alone: those of a
  // weight with same_as are those of the other one.
  int64_t tensor_count() const;
  std::string tensor_name(int64_t index) const;
  int64_t tensor_rows(int64_t index) const;
  int64_t tensor_bytes(int64_t index) const { return tensor_rows(index) * row_bytes(); }
  // Whether its tensors are blocks, which begin at multiples of kBlockAlignment.
  bool blocks() const {
    return packing == Packing::kInterleavedRows ||
           (packing == Packing::kRowMajor && block_rows < rows);
  }
};

struct Manifest {
  // What `mneme convert --dtype` was.
  enum class DType : uint8_t { kStored, kBf16, kF32 };

  std::string conversion;
  std::vector<ManifestFile> source;
  DType dtype = DType::kStored;
  std::vector<std::string> ignored_config_keys;
  std::string config;
  std::vector<ManifestFile> copies;
  std::vector<ManifestShard> shards;
  std::vector<ManifestWeight> weights;

  bool operator==(const Manifest&) const = default;

  // The text, deterministic, ending in a line feed.
  std::string Print() const;
  // From the text of `file`, which is what messages call it. INVALID_ARGUMENT naming file, member
  // and value for what is no manifest, and for one that contradicts itself: a name that is not
  // plain or used twice, a tensor outside of its shard, on another or not aligned, whose name or
  // size is not what its weight's shape says, or that has a checksum too few. FAILED_PRECONDITION
  // for a version newer than kNativeVersion. Whatever Parse accepts, Print gives a text that parses
  // to the same. Time n log n in the text.
  static absl::StatusOr<Manifest> Parse(std::string_view text, const std::string& file);
  // That of a folder. Errors: NOT_FOUND where it has none, those of ReadSmallFile and of Parse.
  static absl::StatusOr<Manifest> Read(const std::string& directory);
};
const char* ManifestDTypeName(Manifest::DType dtype);  // "stored", "bf16", "f32"

}  // namespace mneme::loader

#endif  // MNEME_LOADER_NATIVE_MANIFEST_H_
