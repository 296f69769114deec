// Owner of a block of host memory: 64-byte aligned, zero-filled, on huge pages where asked and
// possible. Movable, not copyable; the memory is returned in the destructor.
#ifndef MNEME_KERNELS_DEVICE_BUFFER_H_
#define MNEME_KERNELS_DEVICE_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/statusor.h"

namespace mneme::kernels {

// kNormal: the system's page size. kHuge: 2 MiB aligned, advised to transparent huge pages, so a
// random row costs one TLB entry and no page walk; falls back to normal pages silently where the
// system has none (huge_bytes() tells what was got).
enum class Pages { kNormal, kHuge };

class Buffer {
 public:
  Buffer() = default;
  // RESOURCE_EXHAUSTED with the size when the system refuses. bytes == 0 gives an empty buffer.
  static absl::StatusOr<Buffer> Allocate(int64_t bytes, Pages pages);
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();

  uint8_t* data() const { return data_; }
  int64_t size() const { return size_; }
  std::span<uint8_t> span() const { return {data_, static_cast<size_t>(size_)}; }
  // Bytes of this buffer that the kernel backs with huge pages now (reads /proc/self/smaps).
  int64_t huge_bytes() const;

 private:
  uint8_t* data_ = nullptr;
  int64_t size_ = 0;
  void* mapping_ = nullptr;
  int64_t mapping_size_ = 0;
};

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_DEVICE_BUFFER_H_
