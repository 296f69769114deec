#include "engine/schedule/doorbell.h"

#include "engine/runtime/futex.h"

namespace mneme::schedule {

void Doorbell::Ring() {
  rings_.fetch_add(1, std::memory_order_seq_cst);
  // Sequential consistency: either this load sees the sleeper, or the sleeper's wait sees the ring.
  if (sleeps_.load(std::memory_order_seq_cst)) runtime::FutexWake(&rings_);
}

void Doorbell::Await(uint32_t seen, std::chrono::microseconds spin) {
  if (rings() != seen) return;
  if (spin.count() > 0) {
    const auto until = std::chrono::steady_clock::now() + spin;
    do {
      for (int i = 0; i < 32; ++i) {
        if (rings() != seen) return;
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
      }
    } while (std::chrono::steady_clock::now() < until);
  }
  sleeps_.store(true, std::memory_order_seq_cst);
  while (rings() == seen) runtime::FutexWait(&rings_, seen);
  sleeps_.store(false, std::memory_order_seq_cst);
}

}  // namespace mneme::schedule
