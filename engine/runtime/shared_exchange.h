// The exchange of ranks that share memory: threads of one process, or processes of one host. Their
// arenas lie in one region, and a rank reads the others' registers where they are; nothing is
// copied in between.
//
// Invariants:
//   1. A meeting is over when all ranks have come to it. Ranks come to the same meetings in the
//      same order, so the k-th arrival of each is one meeting.
//   2. What a rank reads of others between two meetings stays as it is until the second: the plan
//      keeps such registers alive so long.
//   3. The region holds counts and offsets, no pointers: every process may map it elsewhere.
//   4. Whoever aborts sets the flag before it adds 2^30 to each rank's arrivals. Who waits for a
//      meeting of before finds everyone there; who comes later looks at the flag first.
// Waiting spins for a while, then sleeps (non-private futexes). Counts are sequentially consistent,
// no fences (ThreadSanitizer does not see them).
#ifndef MNEME_ENGINE_RUNTIME_SHARED_EXCHANGE_H_
#define MNEME_ENGINE_RUNTIME_SHARED_EXCHANGE_H_

#include <chrono>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "engine/runtime/exchange.h"
#include "kernels/device/buffer.h"

namespace mneme::runtime {

// Counts and arenas of all ranks. Thread safe.
class SharedRegion {
 public:
  // For the threads of this process: huge pages where there are some.
  static absl::StatusOr<std::unique_ptr<SharedRegion>> Create(int32_t ranks, int64_t arena_bytes);
  // For processes: in a memfd. RESOURCE_EXHAUSTED with the size when the system refuses.
  static absl::StatusOr<std::unique_ptr<SharedRegion>> CreateFile(int32_t ranks,
                                                                  int64_t arena_bytes);
  // Of another process; takes the descriptor, also when it fails. INVALID_ARGUMENT names the size
  // when the file is not a region of so many ranks and bytes.
  static absl::StatusOr<std::unique_ptr<SharedRegion>> Map(int fd, int32_t ranks,
                                                           int64_t arena_bytes);
  ~SharedRegion();
  SharedRegion(const SharedRegion&) = delete;
  SharedRegion& operator=(const SharedRegion&) = delete;

  int32_t ranks() const { return ranks_; }
  int fd() const { return fd_; }  // -1: this process's own memory
  std::span<uint8_t> arena(int32_t rank) const;

  // Comes to the rank's next meeting: what it wrote before is seen by all that meet it there.
  void Arrive(int32_t rank);
  // Waits until all ranks have come to the meeting that `rank` came to last. False: aborted.
  bool AwaitAll(int32_t rank, std::chrono::microseconds spin);
  void Abort();
  bool aborted() const;
  // Meetings that some ranks have come to and others not yet, and ranks asleep.
  int64_t credits_out() const;
  // As new. REQUIRES: no rank is inside any method.
  void Reset();

 private:
  struct Header;
  struct Place;
  SharedRegion(int32_t ranks, int64_t arena_bytes);
  static int64_t Bytes(int32_t ranks, int64_t arena_bytes);
  Header& header() const;
  Place& place(int32_t rank) const;

  const int32_t ranks_;
  const int64_t arena_bytes_;
  kernels::Buffer own_;
  int fd_ = -1;
  uint8_t* data_ = nullptr;
};

class SharedExchange : public Exchange {
 public:
  // spin: how long a wait looks before it sleeps. The region is not owned.
  SharedExchange(SharedRegion* region, int32_t rank, std::chrono::microseconds spin)
      : Exchange(rank, region->ranks()), region_(*region), spin_(spin) {}

  std::span<uint8_t> arena() const override { return region_.arena(rank()); }
  const uint8_t* ArenaOf(int32_t other) const override { return region_.arena(other).data(); }
  bool BeginStep() override { return Meet(); }
  bool Swap(std::span<const ExchangeBlock> given, std::span<const ExchangeBlock> taken) override;
  bool Settle() override { return Meet(); }
  // Of all ranks.
  void Abort() override;
  int64_t credits_out() const override { return region_.credits_out(); }
  // After SharedRegion::Reset.
  void Restart() { Recover(); }

 private:
  bool Meet();
  bool Await();

  SharedRegion& region_;
  const std::chrono::microseconds spin_;
};

}  // namespace mneme::runtime

#endif  // MNEME_ENGINE_RUNTIME_SHARED_EXCHANGE_H_
