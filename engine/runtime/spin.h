// Waiting by looking.
#ifndef MNEME_ENGINE_RUNTIME_SPIN_H_
#define MNEME_ENGINE_RUNTIME_SPIN_H_

#include <chrono>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mneme::runtime {

// Lets the core's other work go first for a moment.
inline void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Spins until ready() or the time is over; returns ready(). The clock is read once per 64 looks.
template <class Ready>
bool SpinUntil(std::chrono::steady_clock::duration limit, Ready ready) {
  if (ready()) return true;
  if (limit.count() <= 0) return false;
  const auto end = std::chrono::steady_clock::now() + limit;
  do {
    for (int i = 0; i < 64; ++i) {
      if (ready()) return true;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return ready();
}

}  // namespace mneme::runtime

#endif  // MNEME_ENGINE_RUNTIME_SPIN_H_
