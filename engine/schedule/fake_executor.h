// An executor for tests. Its KV cache holds, for each position, the token and a hash of the
// sequence up to it; the logits of a row are a function of all tokens before it, read through the
// block table as attention would. So a block that is wrong, shared where it is written, or reused
// too early, changes what comes out.
#ifndef MNEME_ENGINE_SCHEDULE_FAKE_EXECUTOR_H_
#define MNEME_ENGINE_SCHEDULE_FAKE_EXECUTOR_H_

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/runtime/executor.h"
#include "loader/model/model_description.h"

namespace mneme::schedule {

struct FakeModel {
  int32_t vocab_size = 61;
  int32_t embedding_size = 64;
  int32_t max_sequence_length = 512;
  std::vector<int32_t> eos_token_ids;
};

loader::ModelDescription Describe(const FakeModel& model);
// The logit of id after `tokens`: what FakeExecutor computes.
float FakeLogit(std::span<const int32_t> tokens, int32_t id);

class FakeExecutor : public runtime::Executor {
 public:
  FakeExecutor(const FakeModel& model, const runtime::StepLimits& limits);

  // Called on the schedule's thread before each step is computed; what it returns becomes the
  // step's status. Set before the engine starts.
  std::function<absl::Status(const runtime::Step&)> on_step;
  // How long a step takes at least.
  std::chrono::microseconds step_time{0};
  // Rows containing this token (>= 0) get logits that are not finite.
  int32_t poison_token = -1;

  // As an executor whose ranks are lost and come back: what the KV cache holds is lost. Any thread.
  void Lose(const std::string& why);
  void Recover();

  // Sums over all successful steps. Valid when no step is under way.
  const kernels::Traffic& traffic() const { return traffic_; }
  int64_t steps() const { return steps_.load(); }
  int32_t most_rows() const { return most_rows_.load(); }

  const runtime::StepLimits& limits() const override { return limits_; }
  runtime::Step* NextStep() override;
  void Submit() override;
  const runtime::StepResult& Wait() override;
  void Release() override;
  const runtime::Step& finished_step() const override;
  kernels::TensorView Trace(std::string_view) const override { return {}; }
  runtime::ExecutorState state() const override;
  absl::Status failure() const override;
  void SetStateListener(std::function<void()> listener) override;

 private:
  struct Cell {
    int32_t token = -1;
    int32_t position = -1;
  };
  struct Slot {
    explicit Slot(const runtime::StepLimits& limits) : step(limits) {}
    runtime::Step step;
    runtime::StepResult result;
    std::vector<float> logits;
    std::vector<double> value_row_bytes;
    std::vector<double> kv_bytes;
    std::chrono::steady_clock::time_point ready;
  };

  void Run(Slot* slot);
  void Compute(Slot* slot);
  void CountTraffic(Slot* slot);
  Cell& CellAt(int32_t sequence, int32_t position);

  const FakeModel model_;
  const runtime::StepLimits limits_;
  std::vector<Cell> cells_;        // [kv_blocks, kv_block_tokens]
  std::vector<int32_t> tables_;    // [max_sequences, max_blocks_per_sequence]
  std::vector<int32_t> sequence_;  // scratch: a sequence's tokens
  std::array<Slot, 2> slots_;
  uint64_t submitted_ = 0;
  uint64_t released_ = 0;
  kernels::Traffic traffic_;
  std::atomic<int64_t> steps_{0};
  std::atomic<int32_t> most_rows_{0};
  mutable std::mutex state_mutex_;
  runtime::ExecutorState state_;
  std::string why_;
  bool forget_ = false;
  std::mutex listener_mutex_;
  std::function<void()> listener_;
};

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_FAKE_EXECUTOR_H_
