// Watches the ranks of a plan and brings them back: a thread that listens to heartbeats, gives a
// generation up when a rank is gone or hangs, starts it again and lets all join the next one.
#ifndef MNEME_ENGINE_RANKS_SUPERVISOR_H_
#define MNEME_ENGINE_RANKS_SUPERVISOR_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "engine/ranks/generation.h"
#include "engine/ranks/process_executor.h"
#include "engine/ranks/remote_rank.h"
#include "engine/ranks/transport.h"

namespace mneme::ranks {

class Supervisor {
 public:
  // Starts, or connects to, a rank from 1.
  using Launch = std::function<absl::StatusOr<std::unique_ptr<RankPeer>>(int32_t rank)>;

  // `setup`: of rank 0 and all others but for the number. All references outlive the supervisor.
  Supervisor(const v1::RankSetup& setup, const ProcessOptions& options, Launch launch,
             Transport* transport, Generation* generation);
  // Ends the ranks.
  ~Supervisor();

  // Starts all ranks, lets them join, and begins to watch. The first rank's error.
  absl::Status Start();
  // From now on no rank is started again.
  void Stop();
  // The generation was given up by somebody else: look now.
  void Wake();

  // REQUIRES: inside a generation, or not yet started.
  RemoteRank* rank(int32_t rank) const { return watched_[rank - 1].remote.get(); }

 private:
  using Clock = Channel::Clock;

  struct Watched {
    std::unique_ptr<RemoteRank> remote;  // null: gone
    Clock::time_point heard;
    Clock::time_point moved;
    uint64_t progress = 0;
  };

  void Loop();
  void Watch();
  // Reads what a rank says; gives the generation up when it is gone.
  void Listen(Watched* watched);
  void CheckTimes();
  // named: with the rank's name.
  void Lose(Watched* watched, const absl::Status& named);
  // Until all ranks have joined a new generation, or stopping.
  void Recover();
  absl::Status StartMissing();
  absl::Status JoinAll();
  // The ranks tell each other where they are, and connect.
  absl::Status Connect(uint64_t generation);
  bool SleepUnlessStopped(Clock::duration duration);
  void Log(const std::string& text) const;
  Clock::duration Timeout() const;

  const v1::RankSetup setup_;
  const ProcessOptions& options_;
  const Launch launch_;
  Transport* const transport_;  // rank 0's
  Generation* const generation_;
  std::vector<Watched> watched_;  // by rank, from 1
  int wake_ = -1;                 // eventfd
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace mneme::ranks

#endif  // MNEME_ENGINE_RANKS_SUPERVISOR_H_
