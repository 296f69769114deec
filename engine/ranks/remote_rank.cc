#include "engine/ranks/remote_rank.h"

#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/ranks/protocol.h"
#include "engine/runtime/step_message.h"

namespace mneme::ranks {
namespace {

using Clock = Channel::Clock;

// How often who waits looks whether it still should.
constexpr std::chrono::milliseconds kSlice{50};
constexpr std::chrono::seconds kSetupPatience{30};
constexpr std::chrono::milliseconds kEndPatience{200};
// Results are looked for before sleeping: ranks end a step at about the same time.
constexpr std::chrono::microseconds kResultSpin{20};

runtime::StepLimits LimitsOf(const v1::StepLimits& l) {
  return {.max_tokens = l.max_tokens(),
          .max_sequences = l.max_sequences(),
          .max_logit_rows = l.max_logit_rows(),
          .max_positions = l.max_positions(),
          .kv_blocks = l.kv_blocks(),
          .kv_block_tokens = l.kv_block_tokens()};
}

// Two steps under way never fill the connection, so sending one does not wait for the rank.
void MakeRoomForSteps(int socket, const v1::Plan& plan) {
  constexpr size_t kMost = size_t{16} << 20;
  const size_t wanted = std::min(2 * runtime::MaxStepMessageBytes(LimitsOf(plan.limits())), kMost);
  const int bytes = static_cast<int>(wanted);
  setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RemoteRank>> RemoteRank::Start(std::unique_ptr<RankPeer> peer,
                                                              const v1::RankSetup& setup,
                                                              int descriptor) {
  std::unique_ptr<RemoteRank> rank(new RemoteRank(std::move(peer), setup.rank()));
  MakeRoomForSteps(rank->peer_->front()->socket(), setup.plan());
  const absl::Status sent = SendMessage(rank->peer_->front(), FrameKind::kSetup, setup,
                                        Clock::now() + kSetupPatience, descriptor);
  if (!sent.ok()) return rank->NamedWithEnd(sent);
  return rank;
}

absl::Status RemoteRank::Named(const absl::Status& status) const {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat("rank ", rank_, " (", peer_->name(),
                                                  "): ", std::string(status.message())));
}

absl::Status RemoteRank::NamedWithEnd(const absl::Status& status) {
  // Connections end a moment before the process can be waited for.
  const std::string ended = peer_->Ended(kEndPatience);
  if (ended.empty()) return Named(status);
  return Named(
      absl::Status(status.code(), absl::StrCat(ended, ": ", std::string(status.message()))));
}

absl::Status RemoteRank::Await(FrameKind kind, Clock::time_point end, const GivenUp& given_up) {
  for (;;) {
    const Clock::time_point slice = std::min(end, Clock::now() + kSlice);
    const absl::Status status = peer_->front()->Receive(kResultSpin, slice, &frame_);
    if (status.ok()) break;
    if (!absl::IsDeadlineExceeded(status)) return status;
    if (given_up && given_up()) return absl::CancelledError("nobody waits any more");
    if (Clock::now() >= end) return status;
  }
  if (frame_.kind == kind) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("sent frame ", static_cast<uint32_t>(frame_.kind),
                                                 " instead of ", static_cast<uint32_t>(kind)));
}

absl::Status RemoteRank::AwaitReady(Clock::duration patience, const GivenUp& given_up) {
  absl::Status status = Await(FrameKind::kReady, Clock::now() + patience, given_up);
  if (absl::IsUnavailable(status)) return NamedWithEnd(status);
  v1::RankReady ready;
  if (status.ok()) status = ParseMessage(frame_, &ready);
  if (status.ok()) status = ErrorOf(ready);
  weight_bytes_ = ready.weight_bytes();
  addresses_.assign(ready.addresses().begin(), ready.addresses().end());
  return Named(status);
}

absl::Status RemoteRank::AwaitAnswer(FrameKind kind, Clock::time_point end, v1::RankReady* answer) {
  for (;;) {
    absl::Status status = Await(kind, end, nullptr);
    if (status.ok()) status = ParseMessage(frame_, answer);
    if (status.ok()) return ErrorOf(*answer);
    const bool old = frame_.kind == FrameKind::kResult || frame_.kind == FrameKind::kFetched;
    if (!absl::IsInvalidArgument(status) || !old) return status;
  }
}

absl::Status RemoteRank::Leave(uint64_t generation, Clock::duration patience) {
  const Clock::time_point end = Clock::now() + patience;
  // It may be inside an exchange with one that is gone.
  absl::Status status = peer_->control()->Send(FrameKind::kLeave, AsBytes(generation), end);
  if (status.ok()) status = peer_->front()->Send(FrameKind::kLeave, AsBytes(generation), end);
  v1::RankReady left;
  if (status.ok()) status = AwaitAnswer(FrameKind::kLeft, end, &left);
  addresses_.assign(left.addresses().begin(), left.addresses().end());
  return Named(status);
}

absl::Status RemoteRank::SendJoin(uint64_t generation, const Addresses& addresses,
                                  Clock::duration patience) {
  v1::RankJoin join;
  join.set_generation(generation);
  for (const std::string& address : addresses) join.add_addresses(address);
  return Named(SendMessage(peer_->front(), FrameKind::kJoin, join, Clock::now() + patience));
}

absl::Status RemoteRank::AwaitJoined(Clock::duration patience) {
  v1::RankReady joined;
  return Named(AwaitAnswer(FrameKind::kJoined, Clock::now() + patience, &joined));
}

absl::Status RemoteRank::SendStep(std::span<const uint8_t> message, Clock::duration patience) {
  return Named(peer_->front()->Send(FrameKind::kStep, message, Clock::now() + patience));
}

absl::Status RemoteRank::AwaitResult(int32_t max_tokens, const GivenUp& given_up,
                                     RankResult* result) {
  absl::Status status = Await(FrameKind::kResult, Clock::time_point::max(), given_up);
  if (status.ok()) status = ReadResultMessage(frame_.payload, max_tokens, result);
  return Named(status);
}

absl::StatusOr<kernels::TensorView> RemoteRank::Fetch(int32_t reg, const GivenUp& given_up) {
  absl::Status status =
      peer_->front()->Send(FrameKind::kFetch, AsBytes(reg), Clock::now() + kSetupPatience);
  if (status.ok()) status = Await(FrameKind::kFetched, Clock::time_point::max(), given_up);
  kernels::TensorView tensor;
  if (status.ok()) status = ReadTensor(frame_.payload, &tensor);
  if (!status.ok()) return Named(status);
  return tensor;
}

}  // namespace mneme::ranks
