// An executor whose ranks are processes of this host: rank 0 is a thread of the front process, the
// others are children of it, and all exchange through one region of shared memory.
//
// A step goes to every child as one small message; its result comes back as another. A supervisor
// thread listens to the children's heartbeats. When one is gone (its connection ended, or no
// heartbeat for rank_timeout) or hangs (it neither fires actors nor waits for others), the
// generation is given up: all waits end, steps under way and new ones fail with UNAVAILABLE, the
// rank is killed and started again, and all ranks join the next generation. What the KV cache held
// is lost with it: ExecutorState tells.
#ifndef MNEME_ENGINE_RANKS_PROCESS_EXECUTOR_H_
#define MNEME_ENGINE_RANKS_PROCESS_EXECUTOR_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/runtime/executor.h"
#include "loader/pack/packed_weights.h"
#include "proto/mneme/v1/plan.pb.h"
#include "proto/mneme/v1/ranks.pb.h"

namespace mneme::ranks {

struct ProcessOptions {
  std::string executable;  // `executable rank` serves a rank
  std::string build;       // of this one; ranks of another refuse
  double rank_timeout_seconds = 5;
  // A rank that does not move for so long while a step runs hangs, if it is not the others that it
  // waits for; and for ten times the time that steps took lately.
  double hang_seconds = 10;
  // How long a rank may take to load its weights.
  double setup_seconds = 600;
  // Told what happens to ranks; any thread. May be empty.
  std::function<void(const std::string&)> log;
};

class ProcessExecutor : public runtime::Executor {
 public:
  // Starts the plan's ranks and waits until all have loaded their weights. `weights` are rank 0's
  // and outlive the executor; `setup` says what all ranks share: the source, conversions, kernels.
  // Errors are the rank's own, with its number, or those of Rank::Create.
  static absl::StatusOr<std::unique_ptr<ProcessExecutor>> Create(
      const v1::Plan& plan, const loader::PackedWeights& weights, const v1::RankSetup& setup,
      const ProcessOptions& options);

  // Of a rank's process; rank 0 is this one.
  virtual int process_id(int32_t rank) const = 0;
  // Bytes of weights that each rank says it reads, by rank from 1.
  virtual int64_t weight_bytes(int32_t rank) const = 0;
};

}  // namespace mneme::ranks

#endif  // MNEME_ENGINE_RANKS_PROCESS_EXECUTOR_H_
