// An executor whose ranks are threads of this process. The schedule's thread meets each of them at
// two credit edges of capacity two: steps go one way, results the other. All read the same step.
#ifndef MNEME_ENGINE_RUNTIME_LOCAL_EXECUTOR_H_
#define MNEME_ENGINE_RUNTIME_LOCAL_EXECUTOR_H_

#include <array>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/runtime/credit_edge.h"
#include "engine/runtime/exchange.h"
#include "engine/runtime/executor.h"
#include "engine/runtime/rank.h"

namespace mneme::runtime {

class LocalExecutor : public Executor {
 public:
  // Binds and starts the plan's ranks. `weights`, whole, outlives the executor. Errors: those of
  // Rank::Create.
  static absl::StatusOr<std::unique_ptr<LocalExecutor>> Create(const v1::Plan& plan,
                                                               const loader::PackedWeights& weights,
                                                               bool reference_kernels);
  // Waits for the steps under way.
  ~LocalExecutor() override;

  const StepLimits& limits() const override { return front().limits(); }
  Step* NextStep() override;
  void Submit() override;
  const StepResult& Wait() override;
  void Release() override;
  const Step& finished_step() const override;
  // A tensor that several ranks have parts of is put together once a step.
  kernels::TensorView Trace(std::string_view name) const override;

  int32_t ranks() const { return static_cast<int32_t>(workers_.size()); }
  // REQUIRES: no step is under way.
  const Rank& rank(int32_t index) const { return *workers_[index]->rank; }

 private:
  using Clock = std::chrono::steady_clock;

  struct Worker {
    Worker(std::unique_ptr<Rank> its_rank, std::chrono::microseconds spin)
        : rank(std::move(its_rank)), submitted(2, spin), finished(2, spin) {}

    std::unique_ptr<Rank> rank;
    CreditEdge submitted;
    CreditEdge finished;
    std::array<StepResult, 2> results;
    std::thread thread;
  };

  // looks: there is a core for the schedule, which may look for results before it sleeps.
  LocalExecutor(std::unique_ptr<Exchange> exchange, std::vector<std::unique_ptr<Worker>> workers,
                bool looks);

  const Rank& front() const { return *workers_[0]->rank; }
  void Loop(Worker* worker);
  // The ranks' results of a slot as one.
  const StepResult& Combine(int32_t slot);
  // When the oldest step under way will be done, if it is like the one before it.
  Clock::time_point ExpectedEnd() const;

  const bool looks_;
  std::unique_ptr<Exchange> exchange_;
  std::vector<std::unique_ptr<Worker>> workers_;  // by rank
  std::array<Step, 2> steps_;
  // Of several ranks.
  std::array<StepResult, 2> combined_;
  std::array<std::vector<double>, 2> value_row_bytes_;
  std::array<std::vector<double>, 2> expert_bytes_;
  std::array<std::vector<double>, 2> kv_bytes_;
  // Tensors put together, by name, and of which step.
  struct Traced {
    uint64_t step = 0;
    std::vector<float> values;
  };
  mutable std::map<std::string, Traced, std::less<>> traced_;
  uint64_t next_step_number_ = 1;
  uint32_t finished_slot_ = 0;
  std::array<Clock::time_point, 2> submitted_at_;
  // Of the last steps of that many tokens; 0 tokens is none.
  int32_t estimated_tokens_ = 0;
  double estimated_seconds_ = 0;
};

}  // namespace mneme::runtime

#endif  // MNEME_ENGINE_RUNTIME_LOCAL_EXECUTOR_H_
