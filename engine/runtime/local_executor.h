// An executor whose one rank is a thread of this process. The schedule's thread and the rank's meet
// at two credit edges of capacity two: steps go one way, results the other.
#ifndef MNEME_ENGINE_RUNTIME_LOCAL_EXECUTOR_H_
#define MNEME_ENGINE_RUNTIME_LOCAL_EXECUTOR_H_

#include <array>
#include <chrono>
#include <memory>
#include <thread>

#include "engine/runtime/credit_edge.h"
#include "engine/runtime/executor.h"
#include "engine/runtime/rank.h"

namespace mneme::runtime {

class LocalExecutor : public Executor {
 public:
  explicit LocalExecutor(std::unique_ptr<Rank> rank);
  // Waits for the steps under way.
  ~LocalExecutor() override;

  const StepLimits& limits() const override { return rank_->limits(); }
  Step* NextStep() override;
  void Submit() override;
  const StepResult& Wait() override;
  void Release() override;
  const Step& finished_step() const override;
  kernels::TensorView Trace(std::string_view name) const override { return rank_->Trace(name); }

  // REQUIRES: no step is under way.
  const Rank& rank() const { return *rank_; }

 private:
  using Clock = std::chrono::steady_clock;

  void Loop();
  // When the oldest step under way will be done, if it is like the one before it.
  Clock::time_point ExpectedEnd() const;

  std::unique_ptr<Rank> rank_;
  std::array<Step, 2> steps_;
  std::array<StepResult, 2> results_;
  CreditEdge submitted_;
  CreditEdge finished_;
  uint64_t next_step_number_ = 1;
  uint32_t finished_slot_ = 0;
  std::array<Clock::time_point, 2> submitted_at_;
  // Of the last steps of that many tokens; 0 tokens is none.
  int32_t estimated_tokens_ = 0;
  double estimated_seconds_ = 0;
  std::thread thread_;
};

}  // namespace mneme::runtime

#endif  // MNEME_ENGINE_RUNTIME_LOCAL_EXECUTOR_H_
