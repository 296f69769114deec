// An executor whose ranks are threads of this process. All read the same step.
#ifndef MNEME_ENGINE_RUNTIME_LOCAL_EXECUTOR_H_
#define MNEME_ENGINE_RUNTIME_LOCAL_EXECUTOR_H_

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/runtime/combine_results.h"
#include "engine/runtime/executor.h"
#include "engine/runtime/rank.h"
#include "engine/runtime/rank_thread.h"
#include "engine/runtime/shared_exchange.h"
#include "engine/runtime/watchdog.h"

namespace mneme::runtime {

class LocalExecutor : public Executor {
 public:
  // Binds and starts the plan's ranks. `weights`, whole, outlives the executor. Errors: those of
  // Rank::Create.
  static absl::StatusOr<std::unique_ptr<LocalExecutor>> Create(const v1::Plan& plan,
                                                               const loader::PackedWeights& weights,
                                                               bool reference_kernels,
                                                               const HangOptions& hang = {});
  // The same with operators that do nothing: rank.h.
  static absl::StatusOr<std::unique_ptr<LocalExecutor>> CreateEmpty(
      const v1::Plan& plan, const loader::PackedWeights& weights);
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

  // Not ready once a rank hangs; that cannot be mended.
  ExecutorState state() const override { return {.ready = !hung_.load()}; }
  absl::Status failure() const override;
  void SetStateListener(std::function<void()> listener) override;
  std::vector<ActorProfile> Profile() const override { return front().Profile(); }

  int64_t credits_out() const override;
  int32_t ranks() const { return static_cast<int32_t>(threads_.size()); }
  // REQUIRES: no step is under way.
  const Rank& rank(int32_t index) const { return threads_[index]->rank(); }

 private:
  using Clock = std::chrono::steady_clock;

  // options: of all ranks, without number and exchange.
  static absl::StatusOr<std::unique_ptr<LocalExecutor>> Bind(const v1::Plan& plan,
                                                             const loader::PackedWeights& weights,
                                                             const RankOptions& options,
                                                             const HangOptions& hang);
  LocalExecutor(std::unique_ptr<SharedRegion> region,
                std::vector<std::unique_ptr<SharedExchange>> exchanges, const StepLimits& limits);

  const Rank& front() const { return rank(0); }
  void Hang(const std::string& why);
  // When the oldest step under way will be done, if it is like the one before it.
  Clock::time_point ExpectedEnd() const;

  // Whether there is a core for the schedule, which may look for results before it sleeps.
  bool looks_ = false;
  std::unique_ptr<SharedRegion> region_;  // null when alone, as are the exchanges
  std::vector<std::unique_ptr<SharedExchange>> exchanges_;
  std::array<Step, 2> steps_;
  Step spare_;                                        // once a rank hangs
  std::array<CombinedResult, 2> combined_;            // of several ranks
  std::vector<std::unique_ptr<RankThread>> threads_;  // by rank
  std::atomic<bool> hung_{false};
  mutable std::mutex state_mutex_;
  std::string why_;
  std::mutex listener_mutex_;
  std::function<void()> listener_;
  std::unique_ptr<Watchdog> watchdog_;
  mutable TraceAssembler trace_;
  uint64_t next_step_number_ = 1;
  uint64_t finished_ = 0;  // number of the step that Wait() returned
  std::array<Clock::time_point, 2> submitted_at_;
  // Of the last steps of that many tokens; 0 tokens is none.
  int32_t estimated_tokens_ = 0;
  double estimated_seconds_ = 0;
};

}  // namespace mneme::runtime

#endif  // MNEME_ENGINE_RUNTIME_LOCAL_EXECUTOR_H_
