// Sleep until a 32-bit word in memory changes. Works across processes (non-private futexes), so the
// same edges serve the threads of one process and the processes of one host.
#ifndef MNEME_ENGINE_RUNTIME_FUTEX_H_
#define MNEME_ENGINE_RUNTIME_FUTEX_H_

#include <atomic>
#include <chrono>
#include <cstdint>

namespace mneme::runtime {

// Returns when woken, when `word` is not `expected`, or for no reason; callers check and loop.
void FutexWait(std::atomic<uint32_t>* word, uint32_t expected);
// As FutexWait, at most until `end`.
void FutexWaitUntil(std::atomic<uint32_t>* word, uint32_t expected,
                    std::chrono::steady_clock::time_point end);
// Wakes everyone who sleeps on `word`.
void FutexWake(std::atomic<uint32_t>* word);

}  // namespace mneme::runtime

#endif  // MNEME_ENGINE_RUNTIME_FUTEX_H_
