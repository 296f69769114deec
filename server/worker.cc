#include "server/worker.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace mneme::server {
namespace {

constexpr int64_t kPatience = 16;

}  // namespace

Worker::Worker(int64_t most_bytes) : most_bytes_(most_bytes), thread_([this] { Loop(); }) {}

Worker::~Worker() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

absl::Status Worker::Run(int64_t bytes, std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    if (!tasks_.empty() && bytes > most_bytes_ - waiting_bytes_) {
      return absl::ResourceExhaustedError(
          absl::StrCat("texts of ", waiting_bytes_, " bytes wait to be tokenized; with these ",
                       bytes, " they would be more than ", most_bytes_));
    }
    // A key is at most what was given so far and sixteen messages more: no overflow in a lifetime.
    tasks_.emplace(given_bytes_ + kPatience * bytes, Task{bytes, std::move(task)});
    given_bytes_ += bytes;
    waiting_bytes_ += bytes;
  }
  changed_.notify_one();
  return absl::OkStatus();
}

void Worker::Loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    const Task task = std::move(tasks_.begin()->second);
    tasks_.erase(tasks_.begin());
    waiting_bytes_ -= task.bytes;
    lock.unlock();
    task.run();
    lock.lock();
  }
}

}  // namespace mneme::server
