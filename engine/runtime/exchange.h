// Where the ranks of one host meet: counts in shared memory, and where each rank's registers lie. A
// rank reads the others' registers directly, since a register lies at the same place of every
// rank's arena; nothing is copied in between.
//
// A meeting is over when all ranks have come to it. Ranks come to the same meetings in the same
// order, so the k-th arrival of each is one meeting. What a rank reads of others between two
// meetings must stay as it is until the second: the plan keeps such registers alive so long.
// Waiting spins for a while, then sleeps. Counts are sequentially consistent, no fences
// (ThreadSanitizer does not see them).
#ifndef MNEME_ENGINE_RUNTIME_EXCHANGE_H_
#define MNEME_ENGINE_RUNTIME_EXCHANGE_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>

namespace mneme::runtime {

class Exchange {
 public:
  Exchange(int32_t ranks, std::chrono::microseconds spin);

  int32_t ranks() const { return ranks_; }
  // Before the first step: where the rank's registers lie. Not owned; must outlive all meetings.
  void SetArena(int32_t rank, const uint8_t* arena) { places_[rank].arena = arena; }
  const uint8_t* arena(int32_t rank) const { return places_[rank].arena; }

  // The rank comes to its next meeting. What it wrote before is seen by all that meet it there.
  void Arrive(int32_t rank);
  // Waits until all ranks have come to the meeting that `rank` came to last.
  void AwaitAll(int32_t rank);
  void Meet(int32_t rank) {
    Arrive(rank);
    AwaitAll(rank);
  }

 private:
  struct alignas(64) Place {
    std::atomic<uint32_t> arrivals{0};
    std::atomic<uint32_t> sleepers{0};
    const uint8_t* arena = nullptr;
  };

  const int32_t ranks_;
  const std::chrono::microseconds spin_;
  std::unique_ptr<Place[]> places_;
};

}  // namespace mneme::runtime

#endif  // MNEME_ENGINE_RUNTIME_EXCHANGE_H_
