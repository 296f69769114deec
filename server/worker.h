// One thread that runs what would hold up gRPC's own threads: tokenizing long texts.
#ifndef MNEME_SERVER_WORKER_H_
#define MNEME_SERVER_WORKER_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace mneme::server {

// Runs tasks in the order in which they were given. Thread safe. The queue is bounded by what its
// users let in: only calls in the registry (generations, and Tokenize and Detokenize) queue a task,
// each one, and their number is limited. A task asks first whether its call was ended meanwhile.
class Worker {
 public:
  Worker();
  ~Worker();  // runs what is queued, then joins
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void Run(std::function<void()> task);

 private:
  void Loop();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace mneme::server

#endif  // MNEME_SERVER_WORKER_H_
