// A credit edge: the live connection between a producer and a consumer that run in different lanes,
// ranks or steps. The data lie in `capacity` slots elsewhere; the edge counts.
//
// Invariants:
//   1. released <= written <= released + capacity. Slot i of a stream is slot i % capacity.
//   2. Only the producer changes `written`, only the consumer `released`: one thread each.
//   3. What was written to a slot before Publish() is seen after WaitWritten() returned for it, and
//      what was read before Release() is done before WaitCredit() gives the slot again.
//   4. Counts wrap at 2^32; differences are exact as long as capacity < 2^31.
// Waiting spins for a while, then sleeps on the other side's count. Sleepers announce themselves
// with sequentially consistent accesses: either the waker sees the announcement or the sleeper sees
// the new count. No pointers, so an edge may lie in memory shared between processes.
#ifndef MNEME_ENGINE_RUNTIME_CREDIT_EDGE_H_
#define MNEME_ENGINE_RUNTIME_CREDIT_EDGE_H_

#include <atomic>
#include <chrono>
#include <cstdint>

namespace mneme::runtime {

class CreditEdge {
 public:
  explicit CreditEdge(uint32_t capacity, std::chrono::microseconds spin)
      : capacity_(capacity), spin_(spin) {}
  CreditEdge(const CreditEdge&) = delete;
  CreditEdge& operator=(const CreditEdge&) = delete;

  // Producer: waits for a free slot and returns its number in the stream (0, 1, ...).
  uint32_t WaitCredit();
  // Producer: the slot last given by WaitCredit() is complete.
  void Publish();
  bool HasCredit() const {
    return written_.load(std::memory_order_relaxed) - released_.load(std::memory_order_acquire) <
           capacity_;
  }

  // Consumer: waits for the next written slot and returns its number. False is "closed".
  bool WaitWritten(uint32_t* number) { return WaitWritten(number, {}); }
  // As above, when the slot will probably be written at `expected`: sleeps until shortly before and
  // spins until somewhat after, so that the wake-up of a sleeping core costs no time. A wrong guess
  // costs a spin.
  bool WaitWritten(uint32_t* number, std::chrono::steady_clock::time_point expected);
  // Consumer: done with the slot last given by WaitWritten().
  void Release();
  bool HasWritten() const {
    return written_.load(std::memory_order_acquire) != released_.load(std::memory_order_relaxed);
  }

  // Slots that are written and not released. Any thread.
  uint32_t in_use() const {
    const uint32_t released = released_.load(std::memory_order_acquire);
    return written_.load(std::memory_order_acquire) - released;
  }

  // Any thread: a consumer that waits, or will wait with nothing written, gets false.
  void Close();

 private:
  uint32_t capacity_;
  std::chrono::microseconds spin_;
  alignas(64) std::atomic<uint32_t> written_{0};
  std::atomic<uint32_t> consumer_sleeps_{0};
  std::atomic<uint32_t> closed_{0};
  alignas(64) std::atomic<uint32_t> released_{0};
  std::atomic<uint32_t> producer_sleeps_{0};
};

}  // namespace mneme::runtime

#endif  // MNEME_ENGINE_RUNTIME_CREDIT_EDGE_H_
