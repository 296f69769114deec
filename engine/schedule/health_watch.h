// Who is told whether an executor is ready. Thread safe.
#ifndef MNEME_ENGINE_SCHEDULE_HEALTH_WATCH_H_
#define MNEME_ENGINE_SCHEDULE_HEALTH_WATCH_H_

#include <functional>
#include <mutex>
#include <utility>

#include "engine/runtime/executor.h"

namespace mneme::schedule {

class HealthWatch {
 public:
  explicit HealthWatch(const runtime::Executor* executor) : executor_(*executor) {}

  // As Engine::WatchHealth.
  void Watch(std::function<void(bool)> watcher) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      watcher_ = std::move(watcher);
    }
    Tell();
  }
  // The executor's state has changed.
  void Tell() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (watcher_) watcher_(executor_.state().ready);
  }

 private:
  const runtime::Executor& executor_;
  std::mutex mutex_;
  std::function<void(bool)> watcher_;
};

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_HEALTH_WATCH_H_
