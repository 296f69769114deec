// A rank in another process, as its front holds it: two connections, and how it can end.
#ifndef MNEME_ENGINE_RANKS_RANK_PEER_H_
#define MNEME_ENGINE_RANKS_RANK_PEER_H_

#include <sys/types.h>

#include <chrono>
#include <string>

#include "engine/ranks/channel.h"

namespace mneme::ranks {

class RankPeer {
 public:
  // Ends what belongs to the front: its child, its connections.
  virtual ~RankPeer() = default;
  // What the front says, in order, and the rank answers.
  virtual Channel* front() = 0;
  // Heartbeats, and what cannot wait.
  virtual Channel* control() = 0;
  // "process 1234", "host:port".
  virtual std::string name() const = 0;
  // The process, where it is a child of this one; else -1.
  virtual pid_t pid() const { return -1; }
  // How it ended, for a person: "killed by signal 9", "ended with status 1"; empty if it still runs
  // after `patience`, or nobody knows. One thread at a time.
  virtual std::string Ended(std::chrono::milliseconds patience) {
    (void)patience;
    return "";
  }
};

}  // namespace mneme::ranks

#endif  // MNEME_ENGINE_RANKS_RANK_PEER_H_
