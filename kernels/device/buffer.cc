#include "kernels/device/buffer.h"

#include <sys/mman.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mneme::kernels {
namespace {

constexpr int64_t kHugePage = int64_t{2} << 20;

int64_t RoundUp(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

}  // namespace

absl::StatusOr<Buffer> Buffer::Allocate(int64_t bytes, Pages pages) {
  Buffer buffer;
  if (bytes < 0) {
    return absl::InvalidArgumentError(absl::StrCat("buffer of ", bytes, " bytes"));
  }
  if (bytes == 0) return buffer;
  const bool huge = pages == Pages::kHuge;
  // mmap aligns to a small page only, so a huge buffer reserves one huge page more and starts at
  // the first boundary.
  const int64_t mapping_size = huge ? RoundUp(bytes, kHugePage) + kHugePage : RoundUp(bytes, 4096);
  void* mapping = mmap(nullptr, mapping_size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot allocate ", bytes, " bytes: ", std::strerror(errno)));
  }
  buffer.mapping_ = mapping;
  buffer.mapping_size_ = mapping_size;
  buffer.size_ = bytes;
  buffer.data_ = static_cast<uint8_t*>(mapping);
  if (huge) {
    const uintptr_t start = reinterpret_cast<uintptr_t>(mapping);
    buffer.data_ += RoundUp(static_cast<int64_t>(start), kHugePage) - static_cast<int64_t>(start);
    // Advice only: where the kernel has no huge pages the buffer works, slower.
    madvise(buffer.data_, RoundUp(bytes, kHugePage), MADV_HUGEPAGE);
  }
  return buffer;
}

Buffer::Buffer(Buffer&& other) noexcept { *this = std::move(other); }

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(mapping_, other.mapping_);
  std::swap(mapping_size_, other.mapping_size_);
  return *this;
}

Buffer::~Buffer() {
  if (mapping_ != nullptr) munmap(mapping_, mapping_size_);
}

int64_t Buffer::huge_bytes() const {
  std::FILE* smaps = std::fopen("/proc/self/smaps", "r");
  if (smaps == nullptr) return 0;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(data_);
  const uintptr_t end = begin + static_cast<uintptr_t>(size_);
  bool inside = false;
  int64_t total = 0;
  char line[512];
  while (std::fgets(line, sizeof line, smaps) != nullptr) {
    uintptr_t first = 0;
    uintptr_t last = 0;
    int64_t kib = 0;
    if (std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &first, &last) == 2) {
      inside = first < end && last > begin;
    } else if (inside && std::sscanf(line, "AnonHugePages: %" SCNd64 " kB", &kib) == 1) {
      total += kib * 1024;
    }
  }
  std::fclose(smaps);
  return total;
}

}  // namespace mneme::kernels
