#include "loader/native/verify.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/device/buffer.h"
#include "loader/files/mapped_file.h"
#include "loader/native/checksum.h"
#include "loader/native/native_checkpoint.h"
#include "loader/safetensors/header_json.h"
#include "loader/text/text.h"

namespace mneme::loader {
namespace {

using Clock = std::chrono::steady_clock;

// Stays in a core's cache between the copy out of the kernel and the checksum.
constexpr int64_t kReadBytes = int64_t{256} << 10;
// Blocks are taken in segments, of which every eighth is read first without looking at it. Small
// enough that both rates are of the same mix of memory and disk and of the same neighbours, large
// beside what the system reads ahead.
constexpr int64_t kSegmentBytes = int64_t{4} << 20;
constexpr int64_t kMeasuredEvery = 8;

// Calls `body` with the file's bytes [offset, offset + bytes), a buffer at a time.
template <class Body>
absl::Status Read(const OpenFile& file, int64_t offset, int64_t bytes, std::span<uint8_t> buffer,
                  Body body) {
  while (bytes > 0) {
    const auto wanted = static_cast<size_t>(std::min<int64_t>(bytes, buffer.size()));
    const ssize_t count = pread(file.descriptor(), buffer.data(), wanted, offset);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      return absl::UnavailableError(
          absl::StrCat(file.path(), ": cannot read at ", offset, ": ",
                       count < 0 ? std::strerror(errno) : "the file has become shorter"));
    }
    body(buffer.first(static_cast<size_t>(count)));
    offset += count;
    bytes -= count;
  }
  return absl::OkStatus();
}

// By shard, each by offset.
using ShardTensors = std::vector<std::vector<const ManifestTensor*>>;
ShardTensors TensorsOf(const Manifest& manifest) {
  ShardTensors tensors(manifest.shards.size());
  for (const ManifestWeight& weight : manifest.weights) {
    for (const ManifestTensor& tensor : weight.tensors) {
      tensors[static_cast<size_t>(tensor.shard - 1)].push_back(&tensor);
    }
  }
  for (auto& shard : tensors) {
    std::sort(shard.begin(), shard.end(),
              [](const auto* a, const auto* b) { return a->offset < b->offset; });
  }
  return tensors;
}

// What one thread checks at a time: bytes of a file with one checksum, or zeros.
struct Block {
  size_t file = 0;
  int64_t offset = 0;
  int64_t bytes = 0;
  std::string checksum;  // empty: all are zero
  std::string name;      // "tensor \"head\": block 3"
};

// All that must be read, and what came of it.
class Verification {
 public:
  Verification(const std::string& directory, const Manifest& manifest)
      : directory_(directory), manifest_(manifest) {}

  absl::StatusOr<VerifyReport> Run(const VerifyOptions& options) {
    report_.conversion = manifest_.conversion;
    report_.shards = static_cast<int64_t>(manifest_.shards.size());
    for (const ManifestFile& copy : manifest_.copies) {
      if (absl::Status status = AddCopy(copy); !status.ok()) return status;
    }
    const ShardTensors tensors = TensorsOf(manifest_);
    for (size_t i = 0; i < manifest_.shards.size(); ++i) {
      if (absl::Status status = AddShard(i, tensors[i]); !status.ok()) return status;
    }
    for (const Block& block : blocks_) report_.bytes += block.bytes;
    const Clock::time_point start = Clock::now();
    if (absl::Status status = CheckBlocks(options); !status.ok()) return status;
    report_.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    std::sort(found_.begin(), found_.end());
    for (const auto& [place, message] : found_) {
      if (report_.messages.size() < kMostDifferences) report_.messages.push_back(message);
    }
    report_.differences = static_cast<int64_t>(found_.size());
    return report_;
  }

 private:
  struct Rate {
    int64_t bytes = 0;
    double seconds = 0;

    void Add(int64_t more, Clock::time_point start) {
      bytes += more;
      seconds += std::chrono::duration<double>(Clock::now() - start).count();
    }
    void Add(const Rate& other) {
      bytes += other.bytes;
      seconds += other.seconds;
    }
  };

  // What one thread works with.
  struct Worker {
    kernels::Buffer buffer;
    // The file of the block before, most often of the next one, too. There may be more files than a
    // process may have open.
    OpenFile file;
    size_t file_index = SIZE_MAX;
    Checksum checksum;
    int64_t segments = 0;
    Rate checked;
    Rate read;
  };

  void Differs(size_t file, int64_t offset, const std::string& message) {
    const std::lock_guard<std::mutex> lock(mutex_);
    found_.push_back({{file, offset}, message});
  }

  // The next file of the list, its size checked; nothing where there is a difference that leaves
  // nothing else to check. An error is the system's, and says nothing about the folder.
  absl::StatusOr<std::optional<OpenFile>> Open(const std::string& name, int64_t bytes) {
    const size_t index = names_.size();
    names_.push_back(name);
    absl::StatusOr<OpenFile> file = OpenFile::Open(PathOf(index));
    if (absl::IsNotFound(file.status())) {
      Differs(index, 0, absl::StrCat(name, ": is missing"));
      return std::nullopt;
    }
    if (absl::IsInvalidArgument(file.status())) {
      Differs(index, 0, absl::StrCat(name, ": is not a regular file"));
      return std::nullopt;
    }
    if (!file.ok()) return file.status();
    if (file->bytes() != bytes) {
      Differs(index, 0,
              absl::StrCat(name, ": has ", file->bytes(), " bytes, the manifest says ", bytes));
      return std::nullopt;
    }
    return *std::move(file);
  }

  std::string PathOf(size_t file) const { return absl::StrCat(directory_, "/", names_[file]); }

  absl::Status AddCopy(const ManifestFile& copy) {
    const auto file = Open(copy.name, copy.bytes);
    if (!file.ok() || !file->has_value()) return file.status();
    blocks_.push_back({names_.size() - 1, 0, copy.bytes, copy.hash, "all of it"});
    return absl::OkStatus();
  }

  absl::Status AddShard(size_t index, const std::vector<const ManifestTensor*>& tensors) {
    const ManifestShard& shard = manifest_.shards[index];
    const auto opened = Open(shard.file, shard.bytes);
    if (!opened.ok() || !opened->has_value()) return opened.status();
    const size_t file = names_.size() - 1;
    if (!CheckConversion(**opened, shard, index + 1)) return absl::OkStatus();
    blocks_.push_back({file, 0, shard.header_bytes, shard.header_checksum, "the header"});
    report_.tensors += static_cast<int64_t>(tensors.size());
    int64_t end = shard.header_bytes;
    for (const ManifestTensor* tensor : tensors) {
      AddPadding(file, end, tensor->offset);
      for (size_t i = 0; i < tensor->checksums.size(); ++i) {
        const int64_t begin = static_cast<int64_t>(i) * kChecksumBytes;
        blocks_.push_back({file, tensor->offset + begin,
                           std::min(kChecksumBytes, tensor->bytes - begin), tensor->checksums[i],
                           absl::StrCat("tensor ", Quote(tensor->name), ": block ", i)});
      }
      end = tensor->offset + tensor->bytes;
    }
    AddPadding(file, end, shard.bytes);
    return absl::OkStatus();
  }

  void AddPadding(size_t file, int64_t begin, int64_t end) {
    if (begin < end) blocks_.push_back({file, begin, end - begin, "", "padding"});
  }

  // Whether the header says that it is this shard of this conversion. One that cannot be parsed is
  // left to its checksum.
  bool CheckConversion(const OpenFile& file, const ManifestShard& shard, size_t number) {
    std::string header;
    std::vector<uint8_t> buffer(static_cast<size_t>(kReadBytes));
    const absl::Status read =
        Read(file, 0, shard.header_bytes, buffer, [&](std::span<const uint8_t> bytes) {
          header.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        });
    std::map<std::string, HeaderEntry> entries;
    std::map<std::string, std::string> metadata;
    if (!read.ok() || header.size() < 8 ||
        !ParseHeaderJson(std::string_view(header).substr(8), &entries, &metadata).ok()) {
      return true;
    }
    const std::string wanted[] = {manifest_.conversion, absl::StrCat(number),
                                  absl::StrCat(report_.shards)};
    const std::string has[] = {metadata["conversion"], metadata["shard"], metadata["shards"]};
    if (std::equal(std::begin(has), std::end(has), std::begin(wanted))) return true;
    Differs(names_.size() - 1, 0,
            absl::StrCat(shard.file, ": is shard ", Quote(has[1]), " of ", Quote(has[2]),
                         " of conversion ", Quote(has[0]), ", the manifest's is shard ", wanted[1],
                         " of ", wanted[2], " of conversion ", wanted[0]));
    return false;
  }

  absl::Status CheckBlocks(const VerifyOptions& options) {
    std::vector<std::thread> threads;
    threads.reserve(static_cast<size_t>(options.threads));
    for (int32_t i = 0; i < options.threads; ++i) {
      threads.emplace_back([this, &options] {
        absl::Status status = Work(options);
        if (status.ok()) return;
        const std::lock_guard<std::mutex> lock(mutex_);
        failed_.Update(status);
        next_ = blocks_.size();
      });
    }
    for (std::thread& thread : threads) thread.join();
    if (!failed_.ok()) return failed_;
    const auto rate = [&](const Rate& r) {
      return r.bytes < kLeastMeasured || r.seconds <= 0
                 ? 0.0
                 : static_cast<double>(r.bytes) / r.seconds * options.threads;
    };
    report_.checked_per_second = rate(checked_);
    report_.read_per_second = rate(read_);
    return absl::OkStatus();
  }

  absl::Status Work(const VerifyOptions& options) {
    Worker worker;
    absl::StatusOr<kernels::Buffer> buffer =
        kernels::Buffer::Allocate(kReadBytes, kernels::Pages::kNormal);
    if (!buffer.ok()) return buffer.status();
    worker.buffer = *std::move(buffer);
    for (size_t i = next_++; i < blocks_.size(); i = next_++) {
      if (absl::Status status = Check(blocks_[i], &worker); !status.ok()) return status;
      const std::lock_guard<std::mutex> lock(mutex_);
      done_ += blocks_[i].bytes;
      if (options.on_progress) options.on_progress(done_, report_.bytes);
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    checked_.Add(worker.checked);
    read_.Add(worker.read);
    return absl::OkStatus();
  }

  absl::Status Check(const Block& block, Worker* worker) {
    if (worker->file_index != block.file) {
      worker->file = OpenFile();  // closed before the next is opened
      absl::StatusOr<OpenFile> opened = OpenFile::Open(PathOf(block.file));
      if (!opened.ok()) return opened.status();
      worker->file = *std::move(opened);
      worker->file_index = block.file;
    }
    bool zero = true;
    const auto look = [&](std::span<const uint8_t> bytes) {
      if (!block.checksum.empty()) return worker->checksum.Add(bytes);
      zero = zero && std::all_of(bytes.begin(), bytes.end(), [](uint8_t b) { return b == 0; });
    };
    for (int64_t at = 0; at < block.bytes; at += kSegmentBytes) {
      const int64_t bytes = std::min(kSegmentBytes, block.bytes - at);
      const int64_t offset = block.offset + at;
      const std::span<uint8_t> buffer = worker->buffer.span();
      const bool measured = ++worker->segments % kMeasuredEvery == 0;
      Clock::time_point start = Clock::now();
      if (measured) {
        absl::Status status = Read(worker->file, offset, bytes, buffer, [](auto) {});
        if (!status.ok()) return status;
        worker->read.Add(bytes, start);
      }
      start = Clock::now();
      absl::Status status = Read(worker->file, offset, bytes, buffer, look);
      if (!status.ok()) return status;
      if (!measured) worker->checked.Add(bytes, start);
    }
    if (block.checksum.empty()) {
      if (!zero) Differs(block.file, block.offset, Message(block, "is not zero"));
      return absl::OkStatus();
    }
    const std::string has = worker->checksum.Take();
    if (has != block.checksum) {
      Differs(
          block.file, block.offset,
          Message(block, absl::StrCat("checksum ", has, ", the manifest says ", block.checksum)));
    }
    return absl::OkStatus();
  }

  std::string Message(const Block& block, const std::string& what) const {
    return absl::StrCat(names_[block.file], ": ", block.name, ", bytes [", block.offset, ", ",
                        block.offset + block.bytes, ") of the file: ", what);
  }

  const std::string directory_;
  const Manifest& manifest_;
  VerifyReport report_;
  std::vector<std::string> names_;  // of files
  std::vector<Block> blocks_;
  std::atomic<size_t> next_{0};
  std::mutex mutex_;  // of what follows
  std::vector<std::pair<std::pair<size_t, int64_t>, std::string>> found_;
  absl::Status failed_;
  Rate checked_;
  Rate read_;
  int64_t done_ = 0;
};

}  // namespace

absl::StatusOr<Manifest> ReadManifest(const std::string& directory) {
  absl::StatusOr<Manifest> manifest = Manifest::Read(directory);
  if (!absl::IsNotFound(manifest.status())) return manifest;
  if (absl::Status unfinished = CheckUnfinished(directory); !unfinished.ok()) return unfinished;
  return absl::NotFoundError(absl::StrCat(directory, ": has no ", kManifestName,
                                          ": `mneme convert` has not written this folder"));
}

absl::StatusOr<VerifyReport> VerifyNative(const std::string& directory,
                                          const VerifyOptions& options) {
  const absl::StatusOr<Manifest> manifest = ReadManifest(directory);
  if (!manifest.ok()) return manifest.status();
  Verification verification(directory, *manifest);
  return verification.Run(options);
}

}  // namespace mneme::loader
