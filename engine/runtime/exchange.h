// One rank's end of what the ranks of a plan do together: it gives the others parts of its
// registers and gets parts of theirs. A transport only moves bytes; what is done with them (sums,
// merges) is the actors' business, so all transports give the same bits.
//
// A register lies at the same offset of every rank's arena. Ranks call the same operations in the
// same order. All methods but Abort and those that say so are for the rank's own thread. Nothing
// allocates after the start.
#ifndef MNEME_ENGINE_RUNTIME_EXCHANGE_H_
#define MNEME_ENGINE_RUNTIME_EXCHANGE_H_

#include <atomic>
#include <cstdint>
#include <span>

namespace mneme::runtime {

// Some columns of all rows of a register. No rows: nothing.
struct ExchangeBlock {
  int64_t offset = 0;  // of the first row's first byte in the arena
  int64_t rows = 0;
  int64_t row_bytes = 0;
  int64_t stride_bytes = 0;  // from row to row

  int64_t bytes() const { return rows * row_bytes; }
};

class Exchange {
 public:
  virtual ~Exchange() = default;
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  int32_t rank() const { return rank_; }
  int32_t ranks() const { return ranks_; }
  // This rank's registers, zero at the start; owned by the exchange.
  virtual std::span<uint8_t> arena() const = 0;
  // Where to read, after a Swap, what it took of another rank: at the same offsets as there.
  virtual const uint8_t* ArenaOf(int32_t other) const = 0;

  // All ranks come to the beginning of a step; what one wrote in the step before may be written
  // again.
  virtual bool BeginStep() = 0;
  // By rank, as many blocks for each, one behind the other: those of this rank's arena that the
  // other one takes, and those of the other one's arena that this one takes. Taken blocks can be
  // read until the next Swap that takes something; with Settle, only until then. False: failed.
  virtual bool Swap(std::span<const ExchangeBlock> given, std::span<const ExchangeBlock> taken) = 0;
  // What was given may be written again: everybody has read it. False: failed.
  virtual bool Settle() = 0;

  // Ends the waits of all ranks, now and later; any thread. Swap and Settle then return false, and
  // what was taken is undefined.
  virtual void Abort() = 0;
  // Any thread.
  bool failed() const { return failed_.load(std::memory_order_acquire); }
  // What of the ranks' operations is not over, as far as this end sees: 0 between steps. Any
  // thread.
  virtual int64_t credits_out() const = 0;
  // The rank is inside an operation: it may be others that it waits for. Any thread.
  bool waiting() const { return waiting_.load(std::memory_order_relaxed); }

 protected:
  Exchange(int32_t rank, int32_t ranks) : rank_(rank), ranks_(ranks) {}
  bool Fail() {
    failed_.store(true, std::memory_order_release);
    return false;
  }
  void Recover() { failed_.store(false, std::memory_order_release); }
  void SetWaiting(bool waiting) { waiting_.store(waiting, std::memory_order_relaxed); }

 private:
  const int32_t rank_;
  const int32_t ranks_;
  std::atomic<bool> failed_{false};
  std::atomic<bool> waiting_{false};
};

}  // namespace mneme::runtime

#endif  // MNEME_ENGINE_RUNTIME_EXCHANGE_H_
