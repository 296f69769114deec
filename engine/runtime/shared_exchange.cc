#include "engine/runtime/shared_exchange.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/runtime/futex.h"
#include "engine/runtime/spin.h"

namespace mneme::runtime {
namespace {

constexpr int64_t kPage = 4096;
constexpr uint32_t kAbortedMeetings = uint32_t{1} << 30;

int64_t RoundUpToPage(int64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

absl::Status SystemError(const char* what, int64_t bytes) {
  return absl::ResourceExhaustedError(
      absl::StrCat("shared memory of ", bytes, " bytes: ", what, ": ", std::strerror(errno)));
}

}  // namespace

struct alignas(64) SharedRegion::Header {
  std::atomic<uint32_t> aborted{0};
};

struct alignas(64) SharedRegion::Place {
  std::atomic<uint32_t> arrivals{0};
  std::atomic<uint32_t> sleepers{0};
};

SharedRegion::SharedRegion(int32_t ranks, int64_t arena_bytes)
    : ranks_(ranks), arena_bytes_(arena_bytes) {
  static_assert(std::atomic<uint32_t>::is_always_lock_free);
}

SharedRegion::~SharedRegion() {
  if (fd_ < 0) return;
  munmap(data_, static_cast<size_t>(Bytes(ranks_, arena_bytes_)));
  close(fd_);
}

int64_t SharedRegion::Bytes(int32_t ranks, int64_t arena_bytes) {
  const int64_t counts = static_cast<int64_t>(sizeof(Header) + sizeof(Place) * ranks);
  return RoundUpToPage(counts) + ranks * RoundUpToPage(arena_bytes);
}

SharedRegion::Header& SharedRegion::header() const { return *reinterpret_cast<Header*>(data_); }

SharedRegion::Place& SharedRegion::place(int32_t rank) const {
  return reinterpret_cast<Place*>(data_ + sizeof(Header))[rank];
}

std::span<uint8_t> SharedRegion::arena(int32_t rank) const {
  const int64_t each = RoundUpToPage(arena_bytes_);
  return {data_ + Bytes(ranks_, arena_bytes_) - (ranks_ - rank) * each,
          static_cast<size_t>(arena_bytes_)};
}

absl::StatusOr<std::unique_ptr<SharedRegion>> SharedRegion::Create(int32_t ranks,
                                                                   int64_t arena_bytes) {
  std::unique_ptr<SharedRegion> region(new SharedRegion(ranks, arena_bytes));
  absl::StatusOr<kernels::Buffer> memory =
      kernels::Buffer::Allocate(Bytes(ranks, arena_bytes), kernels::Pages::kHuge);
  if (!memory.ok()) return memory.status();
  region->own_ = *std::move(memory);
  region->data_ = region->own_.data();
  region->Reset();
  return region;
}

absl::StatusOr<std::unique_ptr<SharedRegion>> SharedRegion::CreateFile(int32_t ranks,
                                                                       int64_t arena_bytes) {
  const int64_t bytes = Bytes(ranks, arena_bytes);
  const int fd = memfd_create("mneme-ranks", MFD_CLOEXEC);
  if (fd < 0) return SystemError("memfd_create", bytes);
  if (ftruncate(fd, bytes) != 0) {
    const absl::Status status = SystemError("ftruncate", bytes);
    close(fd);
    return status;
  }
  absl::StatusOr<std::unique_ptr<SharedRegion>> region = Map(fd, ranks, arena_bytes);
  if (region.ok()) (*region)->Reset();
  return region;
}

absl::StatusOr<std::unique_ptr<SharedRegion>> SharedRegion::Map(int fd, int32_t ranks,
                                                                int64_t arena_bytes) {
  const int64_t bytes = Bytes(ranks, arena_bytes);
  struct stat file {};
  if (fstat(fd, &file) != 0 || file.st_size != bytes) {
    close(fd);
    return absl::InvalidArgumentError(absl::StrCat("shared memory of ", ranks, " ranks with ",
                                                   arena_bytes, " bytes of registers each has ",
                                                   bytes, " bytes, got ", file.st_size));
  }
  void* mapped =
      mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) {
    const absl::Status status = SystemError("mmap", bytes);
    close(fd);
    return status;
  }
  std::unique_ptr<SharedRegion> region(new SharedRegion(ranks, arena_bytes));
  region->fd_ = fd;
  region->data_ = static_cast<uint8_t*>(mapped);
  return region;
}

void SharedRegion::Reset() {
  for (int32_t rank = 0; rank < ranks_; ++rank) new (&place(rank)) Place();
  new (&header()) Header();
}

bool SharedRegion::aborted() const { return header().aborted.load(std::memory_order_seq_cst) != 0; }

void SharedRegion::Arrive(int32_t rank) {
  Place& own = place(rank);
  own.arrivals.fetch_add(1, std::memory_order_seq_cst);
  if (own.sleepers.load(std::memory_order_seq_cst) != 0) FutexWake(&own.arrivals);
}

bool SharedRegion::AwaitAll(int32_t rank, std::chrono::microseconds spin) {
  const uint32_t meeting = place(rank).arrivals.load(std::memory_order_seq_cst);
  if (aborted()) return false;
  for (int32_t other = 0; other < ranks_; ++other) {
    Place& their = place(other);
    // Counts wrap; no rank is 2^30 meetings ahead.
    const auto arrived = [&](uint32_t arrivals) {
      return static_cast<int32_t>(arrivals - meeting) >= 0;
    };
    if (other == rank ||
        SpinUntil(spin, [&] { return arrived(their.arrivals.load(std::memory_order_seq_cst)); })) {
      continue;
    }
    // Announced before the last look: an arrival after it wakes us, one before it is seen.
    their.sleepers.fetch_add(1, std::memory_order_seq_cst);
    for (uint32_t seen = their.arrivals.load(std::memory_order_seq_cst); !arrived(seen);
         seen = their.arrivals.load(std::memory_order_seq_cst)) {
      FutexWait(&their.arrivals, seen);
    }
    their.sleepers.fetch_sub(1, std::memory_order_seq_cst);
  }
  return !aborted();
}

void SharedRegion::Abort() {
  if (header().aborted.exchange(1, std::memory_order_seq_cst) != 0) return;
  for (int32_t rank = 0; rank < ranks_; ++rank) {
    place(rank).arrivals.fetch_add(kAbortedMeetings, std::memory_order_seq_cst);
    FutexWake(&place(rank).arrivals);
  }
}

int64_t SharedRegion::credits_out() const {
  int32_t ahead = 0;
  int32_t behind = 0;
  int64_t asleep = 0;
  const uint32_t own = place(0).arrivals.load(std::memory_order_seq_cst);
  for (int32_t rank = 0; rank < ranks_; ++rank) {
    // Counts wrap.
    const auto lead =
        static_cast<int32_t>(place(rank).arrivals.load(std::memory_order_seq_cst) - own);
    ahead = std::max(ahead, lead);
    behind = std::min(behind, lead);
    asleep += place(rank).sleepers.load(std::memory_order_seq_cst);
  }
  return int64_t{ahead} - behind + asleep;
}

bool SharedExchange::Swap(std::span<const ExchangeBlock>, std::span<const ExchangeBlock> taken) {
  region_.Arrive(rank());
  const bool takes =
      std::any_of(taken.begin(), taken.end(), [](const ExchangeBlock& b) { return b.rows > 0; });
  return takes ? Await() : !region_.aborted() || Fail();
}

bool SharedExchange::Meet() {
  region_.Arrive(rank());
  return Await();
}

bool SharedExchange::Await() {
  SetWaiting(true);
  const bool met = region_.AwaitAll(rank(), spin_);
  SetWaiting(false);
  return met || Fail();
}

void SharedExchange::Abort() {
  region_.Abort();
  Fail();
}

}  // namespace mneme::runtime
