#include "loader/files/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mneme::loader {
namespace {

absl::Status SystemError(const std::string& path, const char* doing, int error) {
  const std::string message = absl::StrCat(path, ": cannot ", doing, ": ", std::strerror(error));
  if (error == ENOENT || error == ENOTDIR) return absl::NotFoundError(message);
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(message);
  if (error == ENOMEM) return absl::ResourceExhaustedError(message);
  return absl::UnavailableError(message);
}

constexpr uintptr_t kHugePage = uintptr_t{2} << 20;

uintptr_t PageBytes() { return static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)); }

// Of a range of `size` bytes.
absl::Status CheckPiece(int64_t size, int64_t place, const MappedRange::Piece& piece) {
  const auto page = static_cast<int64_t>(PageBytes());
  const std::string where =
      absl::StrCat(piece.file->path(), ": ", piece.bytes, " bytes at ", piece.offset);
  if (piece.offset < 0 || piece.bytes < 0 || piece.offset > piece.file->bytes() ||
      piece.bytes > piece.file->bytes() - piece.offset) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, " reach beyond the file, which has ", piece.file->bytes()));
  }
  if (place < 0 || place > size || piece.bytes > size - place) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, " do not fit at ", place, " of a range of ", size));
  }
  const bool last = place + piece.bytes == size;
  if (piece.offset % page != 0 || place % page != 0 || (!last && piece.bytes % page != 0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        where, " do not begin and end at multiples of a page, which has ", page, " bytes"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<OpenFile> OpenFile::Open(const std::string& path, Link link) {
  OpenFile file;
  // O_NONBLOCK: opening a pipe that nobody writes must not hang.
  file.fd_ = open(path.c_str(),
                  O_RDONLY | O_CLOEXEC | O_NONBLOCK | (link == Link::kRefuse ? O_NOFOLLOW : 0));
  if (file.fd_ < 0) return SystemError(path, "open", errno);
  struct stat status;
  if (fstat(file.fd_, &status) != 0) return SystemError(path, "stat", errno);
  if (!S_ISREG(status.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": not a regular file"));
  }
  file.state_ = StateOf(path, status);
  return file;
}

OpenFile::OpenFile(OpenFile&& other) noexcept { *this = std::move(other); }

OpenFile& OpenFile::operator=(OpenFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(state_, other.state_);
  return *this;
}

OpenFile::~OpenFile() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  const absl::StatusOr<OpenFile> file = OpenFile::Open(path);
  if (!file.ok()) return file.status();
  return Map(*file);
}

absl::StatusOr<MappedFile> MappedFile::Map(const OpenFile& file) {
  absl::StatusOr<MappedRange> range = MappedRange::Map({{&file, 0, file.bytes()}});
  if (!range.ok()) return range.status();
  MappedFile mapped;
  mapped.state_ = file.state();
  mapped.range_ = *std::move(range);
  return mapped;
}

absl::StatusOr<MappedRange> MappedRange::Reserve(int64_t bytes, const std::string& path) {
  const auto size = static_cast<size_t>(bytes);
  MappedRange range;
  if (size == 0) return range;
  // One huge page more than needed holds a beginning at a multiple of one: where the page cache has
  // a file's offset in a huge page, the kernel maps it as one.
  const size_t reserve = size + kHugePage;
  void* reserved =
      mmap(nullptr, reserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return SystemError(path, "reserve memory", errno);
  range.reserved_ = reserved;
  range.reserved_bytes_ = reserve;
  const uintptr_t address = reinterpret_cast<uintptr_t>(reserved);
  range.bytes_ = {static_cast<uint8_t*>(reserved) + (kHugePage - address % kHugePage) % kHugePage,
                  size};
  return range;
}

absl::Status MappedRange::Fill(int64_t place, const Piece& piece) {
  absl::Status status = CheckPiece(static_cast<int64_t>(bytes_.size()), place, piece);
  if (!status.ok() || piece.bytes == 0) return status;
  const std::span<const uint8_t> part =
      bytes_.subspan(static_cast<size_t>(place), static_cast<size_t>(piece.bytes));
  void* data = mmap(const_cast<uint8_t*>(part.data()), part.size(), PROT_READ,
                    MAP_SHARED | MAP_FIXED, piece.file->descriptor(), piece.offset);
  if (data == MAP_FAILED) return SystemError(piece.file->path(), "map", errno);
  entries_.emplace_back(part, piece.file->path(), piece.offset);
  return absl::OkStatus();
}

absl::StatusOr<MappedRange> MappedRange::Map(const std::vector<Piece>& pieces) {
  int64_t size = 0;
  for (const Piece& piece : pieces) size += piece.bytes;
  if (pieces.empty()) return MappedRange();
  absl::StatusOr<MappedRange> range = Reserve(size, pieces[0].file->path());
  int64_t place = 0;
  for (const Piece& piece : pieces) {
    if (!range.ok()) break;
    if (absl::Status status = range->Fill(place, piece); !status.ok()) return status;
    place += piece.bytes;
  }
  return range;
}

void MappedFile::ReadInHugePages() const {
  const std::span<const uint8_t> all = bytes();
  // Advice: where it is not taken, pages are what the system's readahead makes them.
  if (!all.empty()) madvise(const_cast<uint8_t*>(all.data()), all.size(), MADV_HUGEPAGE);
}

MappedRange::MappedRange(MappedRange&& other) noexcept { *this = std::move(other); }

MappedRange& MappedRange::operator=(MappedRange&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(reserved_, other.reserved_);
  std::swap(reserved_bytes_, other.reserved_bytes_);
  std::swap(entries_, other.entries_);
  return *this;
}

MappedRange::~MappedRange() {
  entries_.clear();
  if (reserved_ != nullptr) munmap(reserved_, reserved_bytes_);
}

void MappedRange::DropPages(std::span<const uint8_t> part) const {
  if (part.empty() || part.data() < bytes_.data() ||
      part.data() + part.size() > bytes_.data() + bytes_.size()) {
    return;
  }
  const uintptr_t page = PageBytes();
  const uintptr_t begin = reinterpret_cast<uintptr_t>(part.data());
  const uintptr_t first = (begin + page - 1) / page * page;
  const uintptr_t last = (begin + part.size()) / page * page;
  if (first >= last) return;
  // Advice: a failure leaves the pages in memory, no more.
  madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

absl::StatusOr<std::string> ReadSmallFile(const std::string& path, int64_t max_bytes) {
  const absl::StatusOr<OpenFile> file = OpenFile::Open(path);
  if (!file.ok()) return file.status();
  if (file->bytes() > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": has ", file->bytes(), " bytes; at most ", max_bytes, " are allowed"));
  }
  std::string text(static_cast<size_t>(file->bytes()), '\0');
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = read(file->descriptor(), text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return SystemError(path, "read", errno);
    if (count == 0) break;  // cut short since it was opened
    done += static_cast<size_t>(count);
  }
  text.resize(done);
  return text;
}

bool FileExists(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0;
}

}  // namespace mneme::loader
