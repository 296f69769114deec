// One rank of a plan on the cpu device: its registers, KV cache, block tables and actors. A rank is
// one thread: its lanes merge into the order fixed in the plan, so no edge inside it needs a
// message.
#ifndef MNEME_ENGINE_RUNTIME_RANK_H_
#define MNEME_ENGINE_RUNTIME_RANK_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/runtime/actor.h"
#include "engine/runtime/executor.h"
#include "engine/runtime/step.h"
#include "kernels/device/buffer.h"
#include "kernels/device/prefault.h"
#include "loader/pack/packed_weights.h"
#include "proto/mneme/v1/plan.pb.h"

namespace mneme::runtime {

struct RankOptions {
  int32_t rank = 0;
  Exchange* exchange = nullptr;    // this rank's end, with its arena; outlives the rank
  bool reference_kernels = false;  // the plain-loop definitions of the operators
  // Actors fire and exchange, but no operator computes anything: what is left is the runtime's own
  // cost. What steps give makes no sense then.
  bool empty_operators = false;
  // For tests: Run does not begin while this is true.
  const std::atomic<bool>* test_hang = nullptr;
};

class Rank {
 public:
  // Binds every actor of the whole plan's part for this rank. `weights`, whole, outlives the rank.
  // INVALID_ARGUMENT names the actor or weight that does not fit; RESOURCE_EXHAUSTED the memory
  // that the system refuses. REQUIRES: an exchange where the plan has several ranks.
  static absl::StatusOr<std::unique_ptr<Rank>> Create(const v1::Plan& plan,
                                                      const loader::PackedWeights& weights,
                                                      const RankOptions& options);

  // Runs one step to its end on the calling thread; all ranks of the plan run the same steps.
  // `slot` is which of the double-buffered registers to use. UNAVAILABLE in the result when the
  // exchange fails: the step is not finished, and its sequences' KV is undefined. Allocates
  // nothing but the text of an error.
  void Run(const Step& step, int32_t slot, StepResult* result);

  // This rank's part of the plan, with the registers and actors of the last step's program.
  const v1::Plan& plan() const { return program_->plan; }
  const StepLimits& limits() const { return limits_; }
  // This rank's part of a register's rows in the last step. REQUIRES: plan() keeps it.
  kernels::TensorView Kept(int32_t index) const;
  // By actor of each program, since the start.
  std::vector<ActorProfile> Profile() const;
  // Actors fired since the start; any thread. Stands still where the rank waits, or hangs.
  uint64_t progress() const { return progress_.load(std::memory_order_relaxed); }

 private:
  struct BoundActor {
    std::unique_ptr<Actor> actor;
    bool logit_rows = false;  // works on the step's logit rows, not on its tokens
    uint64_t fired = 0;
    uint64_t ticks = 0;
  };
  // What steps of at least so many tokens run.
  struct Program {
    int32_t from_tokens = 0;
    v1::Plan plan;
    std::vector<RegisterRef> registers;
    std::vector<BoundActor> actors;
  };

  Rank(v1::Plan plan, const StepLimits& limits, const RankOptions& options);
  absl::Status AllocateMemory();
  absl::Status BindRegisters(Program* program);
  absl::Status BindWeights(const loader::PackedWeights& weights);
  absl::Status BindActors();
  void BindKvCaches();
  void Begin(const Step& step, int32_t slot);
  // The step could not be finished.
  static void Fail(StepResult* result);

  v1::Plan plan_;
  StepLimits limits_;
  const RankOptions options_;
  kernels::Buffer own_arena_;  // of a rank that is alone
  kernels::Buffer kv_;
  std::unique_ptr<kernels::Prefault> kv_prefault_;  // of kv_, so it ends first
  kernels::Buffer scratch_;
  std::deque<Program> programs_;            // by ascending from_tokens, the plan's own first
  Program* program_ = nullptr;              // of the last step
  std::deque<loader::PackedWeight> parts_;  // of weights that are split
  std::vector<const loader::PackedWeight*> weights_;
  KvCaches kv_caches_;
  std::vector<int32_t> block_tables_;  // [max_sequences, max_blocks_per_sequence]
  std::vector<kernels::AttentionSpan> spans_;
  // Per slot, so that a result stays valid while the next step runs: [2][max_tokens].
  std::vector<double> value_row_bytes_;
  std::vector<double> expert_bytes_;
  std::vector<double> kv_bytes_;
  StepContext context_;
  std::atomic<uint64_t> progress_{0};
  uint64_t total_ticks_ = 0;
  double total_seconds_ = 0;
};

}  // namespace mneme::runtime

#endif  // MNEME_ENGINE_RUNTIME_RANK_H_
