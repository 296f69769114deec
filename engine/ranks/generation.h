// Whether the ranks run steps together, and since when: what the schedule's thread, rank 0 and the
// supervisor tell each other. A generation begins when all ranks have joined and ends when one is
// lost. Thread safe.
#ifndef MNEME_ENGINE_RANKS_GENERATION_H_
#define MNEME_ENGINE_RANKS_GENERATION_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <utility>

#include "absl/status/status.h"
#include "engine/runtime/executor.h"

namespace mneme::ranks {

class Generation {
 public:
  // Called when the generation is given up, before anyone waits for its steps: ends the waits.
  explicit Generation(std::function<void()> abort) : abort_(std::move(abort)) {}

  // The schedule's thread. Enter: false when there is no generation, or another than `number`
  // (Step::kAnyGeneration: any will do); then the step fails with failure(). Each step that entered
  // leaves.
  bool Enter(uint64_t number);
  void Leave();

  // Any thread: the generation cannot go on. Only the first reason counts.
  void GiveUp(const absl::Status& why);
  // The last reason; OK before any.
  absl::Status failure() const;

  // Steps inside.
  int steps() const;

  bool given_up() const;
  std::chrono::steady_clock::time_point given_up_at() const;
  // The supervisor's.
  // Waits until no step is inside. REQUIRES: given up.
  void AwaitEmpty();
  // Steps may enter again.
  void Begin();
  // Nobody will leave any more. REQUIRES: given up.
  void Abandon();

  runtime::ExecutorState state() const;
  // Called after each change of state, by whoever caused it.
  void SetListener(std::function<void()> listener);

 private:
  void Tell();

  const std::function<void()> abort_;
  mutable std::mutex mutex_;
  std::condition_variable empty_;
  std::mutex listener_mutex_;
  std::function<void()> listener_;
  bool running_ = false;
  int inside_ = 0;
  uint64_t number_ = 0;
  absl::Status failure_;
  std::chrono::steady_clock::time_point given_up_at_;
};

}  // namespace mneme::ranks

#endif  // MNEME_ENGINE_RANKS_GENERATION_H_
