// One thread that runs what would hold up gRPC's own threads: tokenizing long texts.
#ifndef MNEME_SERVER_WORKER_H_
#define MNEME_SERVER_WORKER_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "absl/status/status.h"

namespace mneme::server {

// Runs tasks, those of small texts before those of large ones: a task lets pass what comes while
// sixteen times its bytes are queued behind it, not more, so that none waits for ever. Tasks of one
// size run in the order in which they were given. Thread safe. A task asks first whether its call
// was ended meanwhile.
class Worker {
 public:
  // most_bytes: of the texts that wait.
  explicit Worker(int64_t most_bytes);
  ~Worker();  // runs what is queued, then joins
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // bytes: of the text. RESOURCE_EXHAUSTED when others wait, and with this one too many bytes; the
  // task is then dropped.
  absl::Status Run(int64_t bytes, std::function<void()> task);

 private:
  struct Task {
    int64_t bytes = 0;
    std::function<void()> run;
  };
  void Loop();

  const int64_t most_bytes_;
  std::mutex mutex_;
  std::condition_variable changed_;
  // By the bytes given before the task, and sixteen times its own.
  std::multimap<int64_t, Task> tasks_;
  int64_t waiting_bytes_ = 0;
  int64_t given_bytes_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace mneme::server

#endif  // MNEME_SERVER_WORKER_H_
