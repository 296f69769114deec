// A child process that serves a rank: started, told to end, and waited for.
#ifndef MNEME_ENGINE_RANKS_RANK_PROCESS_H_
#define MNEME_ENGINE_RANKS_RANK_PROCESS_H_

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/ranks/channel.h"
#include "engine/ranks/rank_peer.h"

namespace mneme::ranks {

// The file descriptors of a rank's two connections in its process.
inline constexpr int kFrontDescriptor = 3;
inline constexpr int kControlDescriptor = 4;

class RankProcess : public RankPeer {
 public:
  // Runs `executable rank` with the other ends of both channels as its descriptors 3 and 4, and
  // nothing else open but standard error. In a process group of its own: a terminal's Ctrl-C is
  // for the front, which ends its ranks when it has drained. By posix_spawn: the front has threads.
  // UNAVAILABLE names the executable and the system's reason.
  static absl::StatusOr<std::unique_ptr<RankProcess>> Start(const std::string& executable);
  // Kills it if it still runs, and waits for its end.
  ~RankProcess() override;
  RankProcess(const RankProcess&) = delete;
  RankProcess& operator=(const RankProcess&) = delete;

  Channel* front() override { return front_.get(); }
  Channel* control() override { return control_.get(); }
  std::string name() const override;
  pid_t pid() const override { return pid_; }
  std::string Ended(std::chrono::milliseconds patience) override;

 private:
  RankProcess(pid_t pid, std::unique_ptr<Channel> front, std::unique_ptr<Channel> control)
      : pid_(pid), front_(std::move(front)), control_(std::move(control)) {}

  const pid_t pid_;
  const std::unique_ptr<Channel> front_;
  const std::unique_ptr<Channel> control_;
  bool reaped_ = false;
  std::string ended_;
};

}  // namespace mneme::ranks

#endif  // MNEME_ENGINE_RANKS_RANK_PROCESS_H_
