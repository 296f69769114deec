#include "engine/ranks/rank_server.h"

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/ranks/protocol.h"
#include "engine/ranks/rank_model.h"
#include "engine/ranks/result_message.h"
#include "engine/ranks/transport.h"
#include "engine/runtime/rank.h"
#include "engine/runtime/step_message.h"

namespace mneme::ranks {
namespace {

using Clock = Channel::Clock;

// How long the front may take to read what a rank tells it.
constexpr std::chrono::seconds kPatience{30};

// Tells the front that this rank lives, and listens for what cannot wait until the step is done.
class Pulse {
 public:
  Pulse(std::unique_ptr<Channel> control, Channel* front, double seconds, const runtime::Rank* rank,
        runtime::Exchange* exchange)
      : control_(std::move(control)),
        front_(front),
        period_(
            std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds))),
        rank_(rank),
        exchange_(exchange),
        thread_([this] { Loop(); }) {
    pthread_setname_np(thread_.native_handle(), "mneme-pulse");
  }
  ~Pulse() {
    stopping_.store(true);
    control_->Shutdown();
    thread_.join();
  }

  // The rank's thread: from now on this one can be given up; 0: none.
  void Enter(uint64_t generation) {
    const std::lock_guard lock(mutex_);
    generation_ = generation;
  }

 private:
  void Loop() {
    Frame frame;
    Clock::time_point next = Clock::now();
    while (!stopping_.load()) {
      if (Clock::now() >= next) {
        next = Clock::now() + period_;
        const Heartbeat beat{rank_->progress(), exchange_->waiting() ? 1u : 0u, 0};
        if (!control_->Send(FrameKind::kHeartbeat, AsBytes(beat), Clock::now() + kPatience).ok()) {
          break;
        }
      }
      const absl::Status status = control_->Receive(std::chrono::microseconds(0), next, &frame);
      if (absl::IsDeadlineExceeded(status)) continue;
      if (!status.ok()) break;
      if (frame.kind == FrameKind::kLeave) AbortIfStill(frame);
    }
    // The front is gone, or nobody listens any more: whatever waits comes to its end.
    exchange_->Abort();
    front_->Shutdown();
  }

  // The rank may have left by itself, and joined another generation.
  void AbortIfStill(const Frame& frame) {
    uint64_t generation = 0;
    if (frame.payload.size() != sizeof generation) return;
    std::memcpy(&generation, frame.payload.data(), sizeof generation);
    const std::lock_guard lock(mutex_);
    if (generation == generation_) exchange_->Abort();
  }

  const std::unique_ptr<Channel> control_;
  Channel* const front_;
  const Clock::duration period_;
  const runtime::Rank* const rank_;
  runtime::Exchange* const exchange_;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  uint64_t generation_ = 0;
  std::thread thread_;
};

class RankServer {
 public:
  RankServer(std::unique_ptr<Channel> front, std::unique_ptr<Channel> control,
             const RankServerOptions& options)
      : front_(std::move(front)), control_(std::move(control)), options_(options) {}

  absl::Status Run() {
    absl::Status status = Receive();
    if (!status.ok()) return status;
    if (frame_.kind != FrameKind::kSetup) return Unexpected();
    v1::RankReady ready;
    if (absl::Status s = SetUp(&ready); !s.ok()) {
      SetError(s, &ready);
      if (status = Reply(FrameKind::kReady, ready); !status.ok()) return status;
      // The front has read why; it ends the connection.
      return Receive().ok() ? Unexpected() : absl::OkStatus();
    }
    pulse_ = std::make_unique<Pulse>(std::move(control_), front_.get(), setup_.heartbeat_seconds(),
                                     rank_.get(), transport_->exchange());
    status = Reply(FrameKind::kReady, ready);
    while (status.ok()) {
      status = Receive();
      if (status.ok()) status = Serve();
    }
    pulse_.reset();
    return absl::IsUnavailable(status) ? absl::OkStatus() : status;
  }

 private:
  absl::Status Receive() {
    return front_->Receive(std::chrono::microseconds(setup_.spin_us()), Clock::time_point::max(),
                           &frame_);
  }
  absl::Status Reply(FrameKind kind, const v1::RankReady& ready) {
    return SendMessage(front_.get(), kind, ready, Clock::now() + kPatience);
  }
  absl::Status Unexpected() const {
    return absl::InvalidArgumentError(
        absl::StrCat("the front sent frame ", static_cast<uint32_t>(frame_.kind), " out of turn"));
  }

  absl::Status SetUp(v1::RankReady* ready) {
    const int fd = std::exchange(frame_.fd, -1);
    absl::Status status = ParseMessage(frame_, &setup_);
    if (status.ok()) status = CheckSetup(setup_, options_.build);
    if (!status.ok()) {
      if (fd >= 0) close(fd);
      return status;
    }
    if (!options_.bind_host.empty()) setup_.set_bind_host(options_.bind_host);
    absl::StatusOr<std::unique_ptr<Transport>> transport = MakeRankTransport(setup_, fd);
    if (!transport.ok()) return transport.status();
    transport_ = *std::move(transport);
    if (!options_.model_directory.empty()) {
      setup_.mutable_source()->set_directory(options_.model_directory);
    }
    absl::StatusOr<RankModel> model = LoadRankModel(setup_);
    if (!model.ok()) return model.status();
    model_ = *std::move(model);
    absl::StatusOr<std::unique_ptr<runtime::Rank>> rank =
        runtime::Rank::Create(setup_.plan(), model_.weights,
                              {.rank = setup_.rank(),
                               .exchange = transport_->exchange(),
                               .reference_kernels = setup_.reference_kernels(),
                               .empty_operators = setup_.empty_operators(),
                               .test_hang = &test_hang_});
    if (!rank.ok()) return rank.status();
    rank_ = *std::move(rank);
    step_ = std::make_unique<runtime::Step>(rank_->limits());
    ready->set_weight_bytes(model_.weight_bytes);
    return Open(ready);
  }

  absl::Status Open(v1::RankReady* ready) {
    const absl::StatusOr<Addresses> addresses = transport_->Open();
    if (!addresses.ok()) return addresses.status();
    for (const std::string& address : *addresses) ready->add_addresses(address);
    return absl::OkStatus();
  }

  // An answer, and the error that is part of it.
  absl::Status Answer(FrameKind kind, const absl::Status& status, v1::RankReady ready) {
    if (!status.ok()) SetError(status, &ready);
    return Reply(kind, ready);
  }

  absl::Status Leave() {
    pulse_->Enter(0);
    v1::RankReady ready;
    const absl::Status opened = Open(&ready);
    return Answer(FrameKind::kLeft, opened, ready);
  }

  absl::Status Join() {
    v1::RankJoin join;
    if (absl::Status status = ParseMessage(frame_, &join); !status.ok()) return status;
    const absl::Status connected =
        transport_->Connect({join.addresses().begin(), join.addresses().end()});
    if (connected.ok()) pulse_->Enter(join.generation());
    return Answer(FrameKind::kJoined, connected, {});
  }

  absl::Status Serve() {
    switch (frame_.kind) {
      case FrameKind::kStep:
        return RunStep();
      case FrameKind::kLeave:
        return Leave();
      case FrameKind::kJoin:
        return Join();
      case FrameKind::kFetch:
        return Fetch();
      default:
        return Unexpected();
    }
  }

  absl::Status RunStep() {
    absl::Status status = runtime::ReadStepMessage(frame_.payload, rank_->limits(),
                                                   model_.embedding_size, step_.get());
    if (!status.ok()) return status;
    if (step_->number == setup_.test_hang_step()) test_hang_.store(true);
    rank_->Run(*step_, static_cast<int32_t>(step_->number % 2), &result_);
    WriteResultMessage(step_->number, result_, &message_);
    return front_->Send(FrameKind::kResult, message_, Clock::now() + kPatience);
  }

  absl::Status Fetch() {
    int32_t index = -1;
    if (frame_.payload.size() == sizeof index) {
      std::memcpy(&index, frame_.payload.data(), sizeof index);
    }
    if (index < 0 || index >= rank_->plan().registers_size() ||
        !rank_->plan().registers(index).kept()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the front fetches register ", index, ", which the plan does not keep"));
    }
    WriteTensor(rank_->Kept(index), &message_);
    return front_->Send(FrameKind::kFetched, message_, Clock::now() + kPatience);
  }

  std::unique_ptr<Channel> front_;
  std::unique_ptr<Channel> control_;
  const RankServerOptions options_;
  v1::RankSetup setup_;
  RankModel model_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<runtime::Rank> rank_;
  std::unique_ptr<runtime::Step> step_;
  std::unique_ptr<Pulse> pulse_;
  runtime::StepResult result_;
  Frame frame_;
  std::vector<uint8_t> message_;
  std::atomic<bool> test_hang_{false};
};

}  // namespace

absl::Status ServeRank(std::unique_ptr<Channel> front, std::unique_ptr<Channel> control,
                       const RankServerOptions& options) {
  return RankServer(std::move(front), std::move(control), options).Run();
}

}  // namespace mneme::ranks
