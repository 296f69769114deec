#include "engine/ranks/generation.h"

namespace mneme::ranks {

bool Generation::Enter(uint64_t number) {
  const std::lock_guard lock(mutex_);
  if (!running_ || (number != runtime::Step::kAnyGeneration && number != number_)) return false;
  ++inside_;
  return true;
}

void Generation::Leave() {
  const std::lock_guard lock(mutex_);
  if (--inside_ == 0) empty_.notify_all();
}

void Generation::GiveUp(const absl::Status& why) {
  {
    const std::lock_guard lock(mutex_);
    if (!running_) return;
    running_ = false;
    failure_ = why;
    given_up_at_ = std::chrono::steady_clock::now();
    // Here, for nobody may begin the next generation in between.
    abort_();
  }
  Tell();
}

absl::Status Generation::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

int Generation::steps() const {
  const std::lock_guard lock(mutex_);
  return inside_;
}

bool Generation::given_up() const {
  const std::lock_guard lock(mutex_);
  return !running_;
}

std::chrono::steady_clock::time_point Generation::given_up_at() const {
  const std::lock_guard lock(mutex_);
  return given_up_at_;
}

void Generation::AwaitEmpty() {
  std::unique_lock lock(mutex_);
  empty_.wait(lock, [this] { return inside_ == 0; });
}

void Generation::Abandon() {
  const std::lock_guard lock(mutex_);
  inside_ = 0;
  empty_.notify_all();
}

void Generation::Begin() {
  {
    const std::lock_guard lock(mutex_);
    running_ = true;
    ++number_;
  }
  Tell();
}

runtime::ExecutorState Generation::state() const {
  const std::lock_guard lock(mutex_);
  return {.ready = running_, .generation = number_};
}

void Generation::SetListener(std::function<void()> listener) {
  const std::lock_guard lock(listener_mutex_);
  listener_ = std::move(listener);
}

void Generation::Tell() {
  const std::lock_guard lock(listener_mutex_);
  if (listener_) listener_();
}

}  // namespace mneme::ranks
