#include "engine/ranks/process_executor.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/plan/explain.h"
#include "engine/ranks/generation.h"
#include "engine/ranks/rank_host.h"
#include "engine/ranks/rank_process.h"
#include "engine/ranks/remote_rank.h"
#include "engine/ranks/supervisor.h"
#include "engine/ranks/transport.h"
#include "engine/runtime/combine_results.h"
#include "engine/runtime/rank_thread.h"
#include "engine/runtime/step_message.h"
#include "engine/runtime/watchdog.h"

namespace mneme::ranks {
namespace {

using Clock = Channel::Clock;
using runtime::Step;
using runtime::StepResult;

constexpr std::chrono::milliseconds kConnectPatience{5000};
constexpr std::chrono::milliseconds kReasonPatience{500};

class ProcessExecutorImpl : public ProcessExecutor {
 public:
  ProcessExecutorImpl(const v1::Plan& plan, const ProcessOptions& options)
      : plan_(plan),
        options_(options),
        ranks_(plan.cluster().ranks()),
        generation_([this] { Abort(); }) {}

  ~ProcessExecutorImpl() override {
    generation_.SetListener({});
    if (supervisor_ != nullptr) supervisor_->Stop();
    watchdog_.reset();
    // Rank 0 first: it may wait for the others.
    generation_.GiveUp(absl::UnavailableError("the executor ends"));
    front_.reset();
    generation_.Abandon();
    supervisor_.reset();
  }

  absl::Status Start(const loader::PackedWeights& weights, v1::RankSetup setup) {
    const std::chrono::microseconds spin = runtime::ExchangeSpin(ranks_);
    setup.set_build(options_.build);
    *setup.mutable_plan() = plan_;
    setup.set_plan_hash(plan::PlanHash(plan_));
    setup.set_spin_us(spin.count());
    setup.set_transport(Tcp() ? v1::RankSetup::TCP : v1::RankSetup::SHARED_MEMORY);
    setup.set_bind_host(options_.bind_host);
    setup.set_exchange_timeout_ms(ExchangePatienceMs());
    absl::StatusOr<std::unique_ptr<Transport>> transport = MakeFrontTransport(setup);
    if (!transport.ok()) return transport.status();
    transport_ = *std::move(transport);
    absl::StatusOr<std::unique_ptr<runtime::Rank>> rank =
        runtime::Rank::Create(plan_, weights,
                              {.rank = 0,
                               .exchange = transport_->exchange(),
                               .reference_kernels = setup.reference_kernels(),
                               .empty_operators = setup.empty_operators()});
    if (!rank.ok()) return rank.status();
    const runtime::StepLimits limits = (*rank)->limits();
    for (int i = 0; i < 3; ++i) steps_.emplace_back(limits);
    for (int i = 0; i < 2; ++i) combined_.emplace_back(limits.max_tokens);
    message_.reserve(runtime::MaxStepMessageBytes(limits));
    supervisor_ = std::make_unique<Supervisor>(
        setup, options_, [this](int32_t r) { return Launch(r); }, transport_.get(), &generation_);
    if (absl::Status status = supervisor_->Start(); !status.ok()) return status;
    front_ = std::make_unique<runtime::RankThread>(*std::move(rank), 0, runtime::StepSpin(ranks_));
    watchdog_ = std::make_unique<runtime::Watchdog>(
        std::vector<runtime::Watchdog::Watched>{{front_.get(), transport_->exchange()}},
        options_.hang, [this](const std::string& why) {
          hung_.store(true);
          generation_.GiveUp(absl::UnavailableError(why));
          front_->Fail(why);
        });
    return absl::OkStatus();
  }

  const runtime::StepLimits& limits() const override { return front_->rank().limits(); }
  runtime::ExecutorState state() const override { return generation_.state(); }
  absl::Status failure() const override { return generation_.failure(); }
  void SetStateListener(std::function<void()> listener) override {
    generation_.SetListener(std::move(listener));
  }
  std::vector<runtime::ActorProfile> Profile() const override { return front_->rank().Profile(); }
  runtime::StepMessageStats message_stats() const override { return stats_; }
  int64_t credits_out() const override {
    return front_->credits_out() + generation_.steps() + transport_->exchange()->credits_out();
  }
  int process_id(int32_t rank) const override {
    return rank == 0 ? getpid() : supervisor_->rank(rank)->pid();
  }
  int64_t weight_bytes(int32_t rank) const override {
    return rank == 0 ? plan_.memory(0).weight_bytes() : supervisor_->rank(rank)->weight_bytes();
  }

  Step* NextStep() override {
    // Rank 0, if it hangs, may still read the others.
    Step* step = &steps_[hung_.load() ? 2 : next_ % 2];
    step->Clear();
    step->number = next_;
    return step;
  }

  void Submit() override {
    const Step& step = steps_[next_ % 2];
    inside_[next_ % 2] = generation_.Enter(step.generation);
    ++next_;
    if (!inside_[step.number % 2]) return;
    const Clock::time_point begin = Clock::now();
    message_.resize(runtime::StepMessageBytes(step));
    runtime::WriteStepMessage(step, message_);
    for (int32_t r = 1; r < ranks_; ++r) {
      const absl::Status sent = supervisor_->rank(r)->SendStep(message_, Patience());
      if (!sent.ok()) GiveUp(sent);
      stats_.bytes += message_.size();
    }
    ++stats_.steps;
    stats_.seconds += std::chrono::duration<double>(Clock::now() - begin).count();
    front_->Submit(&step);
  }

  const StepResult& Wait() override {
    ++finished_;
    runtime::CombinedResult& combined = combined_[finished_ % 2];
    if (!inside_[finished_ % 2]) {
      combined.Fail(generation_.failure());
      return combined.result();
    }
    const StepResult& front = front_->Wait({});
    if (front.status.ok()) {
      combined.Start(front);
      for (int32_t r = 1; r < ranks_; ++r) Collect(r, &combined);
    } else {
      AwaitReason(0, front.status);
    }
    if (!front.status.ok() || generation_.given_up()) combined.Fail(generation_.failure());
    return combined.result();
  }

  void Release() override {
    if (!inside_[finished_ % 2]) return;
    // A step that hangs stays inside: there is no next generation.
    if (hung_.load()) return;
    front_->Release();
    generation_.Leave();
  }

  const Step& finished_step() const override { return steps_[finished_ % 2]; }

  kernels::TensorView Trace(std::string_view name) const override {
    return trace_.Assemble(front_->rank().plan(), name, finished_,
                           [this](int32_t r, int32_t reg) -> kernels::TensorView {
                             if (r == 0) return front_->rank().Kept(reg);
                             const auto fetched = supervisor_->rank(r)->Fetch(reg, GivenUp());
                             return fetched.ok() ? *fetched : kernels::TensorView{};
                           });
  }

 private:
  Clock::duration Patience() const {
    return std::chrono::duration_cast<Clock::duration>(
        std::chrono::duration<double>(options_.rank_timeout_seconds));
  }
  // Longer than a rank that is not given up can be late: who is gone or hangs is found otherwise,
  // and sooner. What is left are ranks that live and cannot reach each other.
  int64_t ExchangePatienceMs() const {
    const double seconds = options_.rank_timeout_seconds + 2 * options_.hang.seconds;
    return static_cast<int64_t>(1000 * seconds);
  }
  RemoteRank::GivenUp GivenUp() const {
    return [this] { return generation_.given_up(); };
  }
  void GiveUp(const absl::Status& why) {
    generation_.GiveUp(absl::UnavailableError(std::string(why.message())));
  }
  bool Tcp() const { return options_.tcp || !options_.hosts.empty(); }
  absl::StatusOr<std::unique_ptr<RankPeer>> Launch(int32_t rank) const {
    if (options_.hosts.empty()) return RankProcess::Start(options_.executable);
    return ConnectToRank(options_.hosts[rank - 1], options_.token, kConnectPatience);
  }
  // Of the generation that was given up.
  void Abort() {
    transport_->exchange()->Abort();
    if (supervisor_ != nullptr) supervisor_->Wake();
  }

  // A rank's exchange has failed. Over TCP it may be the first to see that another one is gone; the
  // supervisor soon knows which.
  void AwaitReason(int32_t rank, const absl::Status& status) {
    const Clock::time_point end = Clock::now() + kReasonPatience;
    while (!generation_.given_up() && Clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    GiveUp(
        absl::UnavailableError(absl::StrCat("rank ", rank, ": ", std::string(status.message()))));
  }

  // One rank's result of the step that is waited for.
  void Collect(int32_t r, runtime::CombinedResult* combined) {
    if (generation_.given_up()) return;
    const absl::Status status =
        supervisor_->rank(r)->AwaitResult(limits().max_tokens, GivenUp(), &remote_result_);
    if (!status.ok()) return GiveUp(status);
    if (remote_result_.step != finished_) {
      return GiveUp(
          absl::InternalError(absl::StrCat("rank ", r, " sent the result of step ",
                                           remote_result_.step, " instead of ", finished_)));
    }
    if (!remote_result_.status.ok()) return AwaitReason(r, remote_result_.status);
    combined->Add(remote_result_.traffic, remote_result_.logit_traffic,
                  remote_result_.token_value_row_bytes, remote_result_.token_expert_bytes,
                  remote_result_.token_kv_bytes);
  }

  const v1::Plan plan_;
  const ProcessOptions options_;
  const int32_t ranks_;
  std::unique_ptr<Transport> transport_;
  Generation generation_;
  std::unique_ptr<Supervisor> supervisor_;
  std::unique_ptr<runtime::RankThread> front_;
  std::unique_ptr<runtime::Watchdog> watchdog_;
  std::atomic<bool> hung_{false};                  // rank 0
  std::vector<Step> steps_;                        // two, and one for when rank 0 hangs
  std::vector<runtime::CombinedResult> combined_;  // two
  std::array<bool, 2> inside_{};                   // by step: it entered a generation
  RankResult remote_result_;
  std::vector<uint8_t> message_;
  mutable runtime::TraceAssembler trace_;
  runtime::StepMessageStats stats_;
  uint64_t next_ = 1;
  uint64_t finished_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ProcessExecutor>> ProcessExecutor::Create(
    const v1::Plan& plan, const loader::PackedWeights& weights, const v1::RankSetup& setup,
    const ProcessOptions& options) {
  if (!options.hosts.empty() &&
      options.hosts.size() + 1 != static_cast<size_t>(plan.cluster().ranks())) {
    return absl::InvalidArgumentError(absl::StrCat("a plan of ", plan.cluster().ranks(),
                                                   " ranks cannot run on this host and ",
                                                   options.hosts.size(), " others"));
  }
  auto executor = std::make_unique<ProcessExecutorImpl>(plan, options);
  if (absl::Status status = executor->Start(weights, setup); !status.ok()) return status;
  return executor;
}

}  // namespace mneme::ranks
