// Executes a plan, step after step. The schedule's side: fill a step, submit it, wait for its
// result.
//
// Up to two steps may be under way (the step edge has two registers): while one runs, the next
// one's inputs may be prepared and submitted. All methods are for one thread, the schedule's.
#ifndef MNEME_ENGINE_RUNTIME_EXECUTOR_H_
#define MNEME_ENGINE_RUNTIME_EXECUTOR_H_

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/runtime/step.h"
#include "kernels/tensor/tensor.h"
#include "kernels/traffic/traffic.h"
#include "proto/mneme/v1/plan.pb.h"

namespace mneme::runtime {

// Per token of a step: the bytes of shared reads that fall to it, besides an equal share of what
// all tokens of the step share (dense weights, keys, activations).
struct StepResult {
  // OK, or why the step failed; then nothing below is valid, and its sequences' KV is undefined.
  absl::Status status;
  // [logit rows of the step, embedding_size] f32; row i belongs to step.logit_rows()[i].
  kernels::Matrix<const float> logits;
  // Everything the step moved.
  kernels::Traffic traffic;
  // Of that, what only the logit rows caused (final norm and head): divided among them.
  kernels::Traffic logit_traffic;
  // [tokens] bytes of value rows, of experts and of KV read that fall to each token; the rest of
  // `traffic` is divided equally among the step's tokens.
  std::span<const double> token_value_row_bytes;
  std::span<const double> token_expert_bytes;
  std::span<const double> token_kv_bytes;
  double step_seconds = 0;     // of rank 0, from its beginning: all ranks meet, then actors run
  double runtime_seconds = 0;  // of that, outside kernels and exchanges
};

// What it took to send steps to ranks in other processes.
struct StepMessageStats {
  uint64_t steps = 0;
  uint64_t bytes = 0;  // to all of them
  double seconds = 0;  // spent sending
};

// Time that one actor has taken so far.
struct ActorProfile {
  std::string_view name;
  v1::OperatorKind kind = v1::OPERATOR_KIND_UNSPECIFIED;
  uint64_t fired = 0;
  double seconds = 0;
};

// Whether steps can run. Each generation begins with nothing in the KV cache: when the number has
// changed, what steps before wrote there is lost.
struct ExecutorState {
  bool ready = true;
  uint64_t generation = 0;
};

class Executor {
 public:
  virtual ~Executor() = default;
  virtual const StepLimits& limits() const = 0;
  // The next step to fill; it is Clear(). REQUIRES: fewer than two steps submitted and not
  // released.
  virtual Step* NextStep() = 0;
  // Starts the step last given by NextStep(). Does not wait.
  virtual void Submit() = 0;
  // Waits for the oldest step that was submitted and not yet released.
  virtual const StepResult& Wait() = 0;
  // Gives the oldest step and its result back. REQUIRES: Wait() returned it.
  virtual void Release() = 0;
  // The step that Wait() returned.
  virtual const Step& finished_step() const = 0;
  // Rows of a register that the plan keeps (built with trace), of the step that Wait() returned:
  // e.g. "memory.0.grid". An empty view when there is none of that name; valid until the next step.
  // REQUIRES: no other step is under way, for it would overwrite them.
  virtual kernels::TensorView Trace(std::string_view name) const = 0;

  // Of rank 0, by actor, since the start. Empty where nobody counts. REQUIRES: no step is under
  // way.
  virtual std::vector<ActorProfile> Profile() const { return {}; }
  // Since the start. The schedule's thread.
  virtual StepMessageStats message_stats() const { return {}; }

  // What was handed out and not given back: steps, results, places of ranks in their exchanges. 0
  // when no step is under way. Any thread.
  virtual int64_t credits_out() const { return 0; }
  // Any thread. While it is not ready, steps end with UNAVAILABLE at once.
  virtual ExecutorState state() const { return {}; }
  // OK, or why it is, or last was, not ready. Any thread.
  virtual absl::Status failure() const { return absl::OkStatus(); }
  // Called after every change of state, on any thread, until the listener is set to another (or to
  // an empty function); must return soon. Any thread.
  virtual void SetStateListener(std::function<void()> listener) { (void)listener; }
};

}  // namespace mneme::runtime

#endif  // MNEME_ENGINE_RUNTIME_EXECUTOR_H_
