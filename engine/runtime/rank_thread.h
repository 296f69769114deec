// A rank on a thread of its own, fed by the schedule's thread over two credit edges of capacity
// two: steps go one way, results the other.
#ifndef MNEME_ENGINE_RUNTIME_RANK_THREAD_H_
#define MNEME_ENGINE_RUNTIME_RANK_THREAD_H_

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "engine/runtime/credit_edge.h"
#include "engine/runtime/executor.h"
#include "engine/runtime/rank.h"

namespace mneme::runtime {

// How long whoever waits for a step or its result looks before it sleeps, where `ranks` threads
// share the machine's cores with the schedule. Whoever looks keeps a core from others: between
// steps they look only if a core is left for the schedule, else it works on a core of theirs (2
// ranks on 2 cores: 1.5 times the tokens per second that looking gave).
std::chrono::microseconds StepSpin(int32_t ranks);
// The same in the middle of a step, where ranks wait for each other: each has a core.
std::chrono::microseconds ExchangeSpin(int32_t ranks);

class RankThread {
 public:
  // Starts the thread.
  RankThread(std::unique_ptr<Rank> rank, int32_t index, std::chrono::microseconds spin);
  // Waits for the steps under way.
  ~RankThread();

  const Rank& rank() const { return *rank_; }
  // The following for the schedule's thread.
  // REQUIRES: fewer than two steps submitted and not released. `step` stays as it is until then.
  void Submit(const Step* step);
  // The oldest step's result, valid until its Release; UNAVAILABLE after Fail. expected: when it
  // will probably be there.
  const StepResult& Wait(std::chrono::steady_clock::time_point expected);
  void Release() { finished_.Release(); }

  // Any thread. Steps are under way.
  bool busy() const { return busy_.load(std::memory_order_relaxed) > 0; }
  // Any thread. Steps and results that were not given back.
  int64_t credits_out() const { return int64_t{submitted_.in_use()} + finished_.in_use(); }
  // Any thread: the rank hangs, nobody waits for it any more.
  void Fail(const std::string& why);

 private:
  void Loop();

  const std::unique_ptr<Rank> rank_;
  CreditEdge submitted_;
  CreditEdge finished_;
  std::array<const Step*, 2> steps_{};
  std::array<StepResult, 2> results_;
  std::atomic<int> busy_{0};
  StepResult failed_;  // written before finished_ is closed
  std::thread thread_;
};

}  // namespace mneme::runtime

#endif  // MNEME_ENGINE_RUNTIME_RANK_THREAD_H_
