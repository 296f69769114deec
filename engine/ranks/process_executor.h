// An executor whose ranks are processes: rank 0 is a thread of the front process, the others are
// children of it, which share a region of memory with it, or wait on other hosts, and all exchange
// over TCP.
//
// A step goes to every rank as one small message; its result comes back as another. A supervisor
// thread listens to the ranks' heartbeats. When one is gone (its connection ended, or no heartbeat
// for rank_timeout) or hangs (it neither fires actors nor waits for others), the generation is
// given up: all waits end, steps under way and new ones fail with UNAVAILABLE, the rank is killed
// and started, or connected to, again, and all ranks join the next generation. What the KV cache
// held is lost with it: ExecutorState tells.
#ifndef MNEME_ENGINE_RANKS_PROCESS_EXECUTOR_H_
#define MNEME_ENGINE_RANKS_PROCESS_EXECUTOR_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/runtime/executor.h"
#include "engine/runtime/watchdog.h"
#include "loader/pack/packed_weights.h"
#include "proto/mneme/v1/plan.pb.h"
#include "proto/mneme/v1/ranks.pb.h"

namespace mneme::ranks {

struct ProcessOptions {
  std::string executable;  // `executable rank` serves a rank
  // Ranks on other hosts, HOST:PORT of each from rank 1; empty: children of this process. They are
  // given the token, and exchange over TCP.
  std::vector<std::string> hosts;
  std::string token;
  // Over TCP also with children; else they share memory.
  bool tcp = false;
  std::string bind_host = "127.0.0.1";  // TCP: this host in the ranks' network
  std::string build;                    // of this one; ranks of another refuse
  double rank_timeout_seconds = 5;
  // A rank that fires no actor for so long while a step runs hangs, if it is not the others that it
  // waits for. A process is started again; rank 0 cannot be: watchdog.h.
  runtime::HangOptions hang;
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
