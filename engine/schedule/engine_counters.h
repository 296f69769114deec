// EngineStats that the schedule's thread writes and any thread reads. Each number is right by
// itself; together they may be from two successive steps.
#ifndef MNEME_ENGINE_SCHEDULE_ENGINE_COUNTERS_H_
#define MNEME_ENGINE_SCHEDULE_ENGINE_COUNTERS_H_

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "engine/engine.h"

namespace mneme::schedule {

class EngineCounters {
 public:
  // One thread.
  void Store(const EngineStats& stats) {
    const auto words = std::bit_cast<std::array<uint64_t, kWords>>(stats);
    for (size_t i = 0; i < kWords; ++i) words_[i].store(words[i], std::memory_order_relaxed);
  }
  // Any thread.
  EngineStats Load() const {
    std::array<uint64_t, kWords> words;
    for (size_t i = 0; i < kWords; ++i) words[i] = words_[i].load(std::memory_order_relaxed);
    return std::bit_cast<EngineStats>(words);
  }

 private:
  // Every member is a word of eight bytes, so no number is ever torn.
  static_assert(std::is_trivially_copyable_v<EngineStats> && sizeof(EngineStats) % 8 == 0);
  static constexpr size_t kWords = sizeof(EngineStats) / 8;

  std::array<std::atomic<uint64_t>, kWords> words_{};
};

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_ENGINE_COUNTERS_H_
