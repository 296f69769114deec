#include "engine/ranks/supervisor.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/ranks/protocol.h"

namespace mneme::ranks {
namespace {

// Between attempts to bring a rank back: doubled each time.
constexpr std::chrono::milliseconds kFirstPause{100};
constexpr std::chrono::milliseconds kLongestPause{5000};
// To connect to all others.
constexpr std::chrono::seconds kJoinPatience{30};
// Heartbeats per timeout.
constexpr double kBeats = 10;

double Seconds(Channel::Clock::duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace

Supervisor::Supervisor(const v1::RankSetup& setup, const ProcessOptions& options, Launch launch,
                       Transport* transport, Generation* generation)
    : setup_([&] {
        v1::RankSetup all = setup;
        all.set_heartbeat_seconds(options.rank_timeout_seconds / kBeats);
        return all;
      }()),
      options_(options),
      launch_(std::move(launch)),
      transport_(transport),
      generation_(generation),
      watched_(setup.plan().cluster().ranks() - 1),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Supervisor::~Supervisor() {
  Stop();
  if (thread_.joinable()) thread_.join();
  close(wake_);
}

void Supervisor::Stop() {
  stopping_.store(true);
  Wake();
}

void Supervisor::Wake() {
  const uint64_t one = 1;
  // A full counter wakes just as well.
  (void)!write(wake_, &one, sizeof one);
}

Supervisor::Clock::duration Supervisor::Timeout() const {
  return std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(options_.rank_timeout_seconds));
}

void Supervisor::Log(const std::string& text) const {
  if (options_.log) options_.log(text);
}

absl::Status Supervisor::Start() {
  if (absl::Status status = StartMissing(); !status.ok()) return status;
  if (absl::Status status = JoinAll(); !status.ok()) return status;
  thread_ = std::thread([this] { Loop(); });
  pthread_setname_np(thread_.native_handle(), "mneme-watch");
  return absl::OkStatus();
}

absl::Status Supervisor::StartMissing() {
  const auto stopped = [this] { return stopping_.load(); };
  std::vector<Watched*> started;
  for (size_t i = 0; i < watched_.size(); ++i) {
    if (watched_[i].remote != nullptr) continue;
    v1::RankSetup setup = setup_;
    setup.set_rank(static_cast<int32_t>(i) + 1);
    absl::StatusOr<std::unique_ptr<RankPeer>> peer = launch_(setup.rank());
    if (!peer.ok()) return peer.status();
    absl::StatusOr<std::unique_ptr<RemoteRank>> remote =
        RemoteRank::Start(*std::move(peer), setup, transport_->descriptor());
    if (!remote.ok()) return remote.status();
    watched_[i].remote = *std::move(remote);
    started.push_back(&watched_[i]);
  }
  absl::Status failure;
  const auto patience = std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(options_.setup_seconds));
  for (Watched* watched : started) {
    const absl::Status status = watched->remote->AwaitReady(patience, stopped);
    if (status.ok()) continue;
    failure.Update(status);
    watched->remote.reset();
  }
  return failure;
}

absl::Status Supervisor::JoinAll() {
  const absl::Status status = Connect(generation_->state().generation + 1);
  if (!status.ok()) return status;
  for (Watched& watched : watched_) watched.heard = watched.moved = Clock::now();
  generation_->Begin();
  return absl::OkStatus();
}

absl::Status Supervisor::Connect(uint64_t generation) {
  const size_t ranks = watched_.size() + 1;
  absl::StatusOr<Addresses> own = transport_->Open();
  if (!own.ok()) return own.status();
  // What rank `at` opened for rank `by`.
  const auto opened = [&](size_t at, size_t by) -> std::string {
    const Addresses& all = at == 0 ? *own : watched_[at - 1].remote->addresses();
    return by < all.size() ? all[by] : "";
  };
  const auto of = [&](size_t by) {
    Addresses addresses(ranks);
    for (size_t at = 0; at < ranks; ++at) addresses[at] = opened(at, by);
    return addresses;
  };
  absl::Status failure;
  for (size_t r = 1; r < ranks; ++r) {
    Watched& watched = watched_[r - 1];
    const absl::Status status = watched.remote->SendJoin(generation, of(r), Timeout());
    failure.Update(status);
    if (!status.ok()) watched.remote.reset();
  }
  if (failure.ok()) failure = transport_->Connect(of(0));
  for (Watched& watched : watched_) {
    if (watched.remote == nullptr) continue;
    const absl::Status status = watched.remote->AwaitJoined(kJoinPatience);
    failure.Update(status);
    if (!status.ok()) watched.remote.reset();
  }
  return failure;
}

void Supervisor::Loop() {
  while (!stopping_.load()) {
    Watch();
    if (!stopping_.load() && generation_->given_up()) Recover();
  }
}

void Supervisor::Watch() {
  std::vector<pollfd> entries = {{wake_, POLLIN, 0}};
  for (Watched& watched : watched_) {
    entries.push_back({watched.remote->control()->socket(), POLLIN, 0});
  }
  const int period = static_cast<int>(1000 * options_.rank_timeout_seconds / kBeats) + 1;
  poll(entries.data(), entries.size(), period);
  uint64_t count = 0;
  if (entries[0].revents != 0) (void)!read(wake_, &count, sizeof count);
  for (size_t i = 0; i < watched_.size(); ++i) {
    if (entries[i + 1].revents != 0) Listen(&watched_[i]);
  }
  CheckTimes();
}

void Supervisor::Lose(Watched* watched, const absl::Status& named) {
  Log(absl::StrCat(std::string(named.message()), "; it is started again"));
  generation_->GiveUp(absl::UnavailableError(std::string(named.message())));
  // No step may be using it.
  generation_->AwaitEmpty();
  watched->remote.reset();
}

void Supervisor::Listen(Watched* watched) {
  Frame frame;
  const absl::Status status = watched->remote->control()->Receive(std::chrono::microseconds(0),
                                                                  Clock::now() + Timeout(), &frame);
  Heartbeat beat;
  if (!status.ok() || frame.kind != FrameKind::kHeartbeat || frame.payload.size() != sizeof beat) {
    const absl::Status why =
        status.ok() ? absl::InvalidArgumentError("its heartbeat makes no sense") : status;
    Lose(watched, absl::IsUnavailable(why) ? watched->remote->NamedWithEnd(why)
                                           : watched->remote->Named(why));
    return;
  }
  std::memcpy(&beat, frame.payload.data(), sizeof beat);
  watched->heard = Clock::now();
  const bool idle = generation_->steps() == 0;
  if (beat.progress != watched->progress || beat.waiting != 0 || idle) {
    watched->moved = watched->heard;
  }
  watched->progress = beat.progress;
}

void Supervisor::CheckTimes() {
  const Clock::time_point now = Clock::now();
  for (Watched& watched : watched_) {
    if (watched.remote == nullptr) continue;
    const double silent = Seconds(now - watched.heard);
    const double still = Seconds(watched.heard - watched.moved);
    if (silent <= options_.rank_timeout_seconds && still <= options_.hang.seconds) continue;
    const absl::Status why =
        absl::UnavailableError(silent > options_.rank_timeout_seconds
                                   ? absl::StrFormat("has not been heard of for %.1f s", silent)
                                   : absl::StrFormat("hangs: has not moved for %.1f s", still));
    Lose(&watched, watched.remote->Named(why));
  }
}

void Supervisor::Recover() {
  generation_->AwaitEmpty();
  Clock::duration pause = kFirstPause;
  while (!stopping_.load()) {
    for (Watched& watched : watched_) {
      if (watched.remote == nullptr) continue;
      if (const absl::Status status =
              watched.remote->Leave(generation_->state().generation, Timeout());
          !status.ok()) {
        Log(absl::StrCat(std::string(status.message()), "; it is started again"));
        watched.remote.reset();
      }
    }
    absl::Status status = StartMissing();
    if (status.ok()) status = JoinAll();
    if (status.ok()) {
      Log(absl::StrFormat("all ranks are back after %.2f s",
                          Seconds(Clock::now() - generation_->given_up_at())));
      return;
    }
    if (stopping_.load()) return;
    Log(absl::StrCat("ranks are not back: ", std::string(status.message())));
    if (!SleepUnlessStopped(pause)) return;
    pause = std::min<Clock::duration>(2 * pause, kLongestPause);
  }
}

bool Supervisor::SleepUnlessStopped(Clock::duration duration) {
  const Clock::time_point end = Clock::now() + duration;
  while (!stopping_.load()) {
    const Clock::time_point now = Clock::now();
    if (now >= end) return true;
    std::this_thread::sleep_for(
        std::min<Clock::duration>(end - now, std::chrono::milliseconds(20)));
  }
  return false;
}

}  // namespace mneme::ranks
