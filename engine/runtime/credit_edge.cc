#include "engine/runtime/credit_edge.h"

#include <algorithm>

#include "engine/runtime/futex.h"
#include "engine/runtime/spin.h"

namespace mneme::runtime {
namespace {

// How long before an expected change a sleeper should be told to wake: about what a core in a
// virtual machine needs from its timer to our next instruction (40 us measured), and some more.
constexpr std::chrono::microseconds kWakeUp{60};

// How long after an expected change it is still looked for: steps of one kind differ by a tenth,
// and a sleeper costs the other side its wake-up (of a quarter of a stream's tokens, before).
constexpr std::chrono::microseconds kLate{150};

// Sleeps until ready() or `end`, if there is one; `word` changes whenever ready() may have become
// true.
template <class Ready>
void SleepUntil(std::atomic<uint32_t>* word, std::atomic<uint32_t>* sleeps, Ready ready,
                std::chrono::steady_clock::time_point end = {}) {
  const bool timed = end != std::chrono::steady_clock::time_point{};
  while (true) {
    const uint32_t seen = word->load(std::memory_order_seq_cst);
    sleeps->store(1, std::memory_order_seq_cst);
    // The count is read again after the announcement: a change after this look wakes us, one before
    // it is seen here.
    if (ready()) break;
    if (timed) {
      FutexWaitUntil(word, seen, end);
    } else {
      FutexWait(word, seen);
    }
    if (ready() || (timed && std::chrono::steady_clock::now() >= end)) break;
  }
  sleeps->store(0, std::memory_order_relaxed);
}

void WakeIfAsleep(std::atomic<uint32_t>* word, std::atomic<uint32_t>* sleeps) {
  if (sleeps->load(std::memory_order_seq_cst) != 0) FutexWake(word);
}

}  // namespace

uint32_t CreditEdge::WaitCredit() {
  const uint32_t number = written_.load(std::memory_order_relaxed);
  const auto ready = [&] { return number - released_.load(std::memory_order_seq_cst) < capacity_; };
  if (!SpinUntil(spin_, ready)) SleepUntil(&released_, &producer_sleeps_, ready);
  return number;
}

void CreditEdge::Publish() {
  written_.fetch_add(1, std::memory_order_seq_cst);
  WakeIfAsleep(&written_, &consumer_sleeps_);
}

bool CreditEdge::WaitWritten(uint32_t* number, std::chrono::steady_clock::time_point expected) {
  const uint32_t next = released_.load(std::memory_order_relaxed);
  const auto ready = [&] {
    return written_.load(std::memory_order_seq_cst) != next ||
           closed_.load(std::memory_order_seq_cst) != 0;
  };
  // Close() also counts as a change of the word that a sleeping consumer watches: it wakes all.
  const auto end = expected - kWakeUp;
  if (std::chrono::steady_clock::now() < end) {
    SleepUntil(&written_, &consumer_sleeps_, ready, end);
  }
  const auto spin = std::max<std::chrono::steady_clock::duration>(
      spin_, expected + kLate - std::chrono::steady_clock::now());
  if (!SpinUntil(spin, ready)) SleepUntil(&written_, &consumer_sleeps_, ready);
  if (written_.load(std::memory_order_acquire) == next) return false;
  *number = next;
  return true;
}

void CreditEdge::Release() {
  released_.fetch_add(1, std::memory_order_seq_cst);
  WakeIfAsleep(&released_, &producer_sleeps_);
}

void CreditEdge::Close() {
  closed_.store(1, std::memory_order_seq_cst);
  // A consumer may look at `closed_`, find 0, and go to sleep on `written_` after this wake: the
  // announcement lets us wait until it is either awake or truly asleep.
  while (consumer_sleeps_.load(std::memory_order_seq_cst) != 0) {
    FutexWake(&written_);
    Pause();
  }
}

}  // namespace mneme::runtime
