// The front's side of one rank in a process of its own. All errors name the rank and its process.
#ifndef MNEME_ENGINE_RANKS_REMOTE_RANK_H_
#define MNEME_ENGINE_RANKS_REMOTE_RANK_H_

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/ranks/rank_peer.h"
#include "engine/ranks/result_message.h"
#include "engine/ranks/transport.h"
#include "kernels/tensor/tensor.h"
#include "proto/mneme/v1/ranks.pb.h"

namespace mneme::ranks {

class RemoteRank {
 public:
  // True: whoever waits for this rank should give up.
  using GivenUp = std::function<bool()>;

  // Tells the rank what to be; AwaitReady waits until it is. descriptor: that it gets a copy of;
  // -1: none.
  static absl::StatusOr<std::unique_ptr<RemoteRank>> Start(std::unique_ptr<RankPeer> peer,
                                                           const v1::RankSetup& setup,
                                                           int descriptor);
  absl::Status AwaitReady(Channel::Clock::duration patience, const GivenUp& given_up);
  // The rank's steps are over, what it waits for ends: of a generation that was given up.
  absl::Status Leave(uint64_t generation, Channel::Clock::duration patience);
  // What it opened for the other ranks, when it was set up or left last.
  const Addresses& addresses() const { return addresses_; }
  // Steps of a new generation follow. addresses: what the others opened for it.
  absl::Status SendJoin(uint64_t generation, const Addresses& addresses,
                        Channel::Clock::duration patience);
  absl::Status AwaitJoined(Channel::Clock::duration patience);

  // message: step_message.h. A rank that takes nothing for `patience` is lost.
  absl::Status SendStep(std::span<const uint8_t> message, Channel::Clock::duration patience);
  // The result of the step sent before all others without one. CANCELLED when given up.
  absl::Status AwaitResult(int32_t max_tokens, const GivenUp& given_up, RankResult* result);
  // The rank's part of a register that the plan keeps; valid until the next call.
  absl::StatusOr<kernels::TensorView> Fetch(int32_t reg, const GivenUp& given_up);

  Channel* control() { return peer_->control(); }
  pid_t pid() const { return peer_->pid(); }
  int32_t rank() const { return rank_; }
  int64_t weight_bytes() const { return weight_bytes_; }
  // An error of this rank, with its name.
  absl::Status Named(const absl::Status& status) const;
  // The same of one whose connection has ended, with how its process did. For the supervisor alone.
  absl::Status NamedWithEnd(const absl::Status& status);

 private:
  RemoteRank(std::unique_ptr<RankPeer> peer, int32_t rank) : peer_(std::move(peer)), rank_(rank) {}
  absl::Status Await(FrameKind kind, Channel::Clock::time_point end, const GivenUp& given_up);
  // An answer; frames of steps that nobody waits for any more are skipped.
  absl::Status AwaitAnswer(FrameKind kind, Channel::Clock::time_point end, v1::RankReady* answer);

  const std::unique_ptr<RankPeer> peer_;
  const int32_t rank_;
  int64_t weight_bytes_ = 0;
  Addresses addresses_;
  Frame frame_;
};

}  // namespace mneme::ranks

#endif  // MNEME_ENGINE_RANKS_REMOTE_RANK_H_
