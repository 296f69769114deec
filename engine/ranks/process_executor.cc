#include "engine/ranks/process_executor.h"

#include <unistd.h>

#include <array>
#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/plan/explain.h"
#include "engine/ranks/generation.h"
#include "engine/ranks/remote_rank.h"
#include "engine/ranks/supervisor.h"
#include "engine/runtime/combine_results.h"
#include "engine/runtime/rank_thread.h"
#include "engine/runtime/shared_exchange.h"
#include "engine/runtime/step_message.h"

namespace mneme::ranks {
namespace {

using Clock = Channel::Clock;
using runtime::Step;
using runtime::StepResult;

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
    // Rank 0 first: it may wait for the others.
    generation_.GiveUp(absl::UnavailableError("the executor ends"));
    front_.reset();
    supervisor_.reset();
  }

  absl::Status Start(const loader::PackedWeights& weights, v1::RankSetup setup) {
    absl::StatusOr<std::unique_ptr<runtime::SharedRegion>> region =
        runtime::SharedRegion::CreateFile(ranks_, plan_.arena_bytes());
    if (!region.ok()) return region.status();
    region_ = *std::move(region);
    const std::chrono::microseconds spin = runtime::ExchangeSpin(ranks_);
    exchange_ = std::make_unique<runtime::SharedExchange>(region_.get(), 0, spin);
    absl::StatusOr<std::unique_ptr<runtime::Rank>> rank = runtime::Rank::Create(
        plan_, weights,
        {.rank = 0, .exchange = exchange_.get(), .reference_kernels = setup.reference_kernels()});
    if (!rank.ok()) return rank.status();
    const runtime::StepLimits limits = (*rank)->limits();
    for (int i = 0; i < 2; ++i) {
      steps_.emplace_back(limits);
      combined_.emplace_back(limits.max_tokens);
    }
    message_.reserve(runtime::MaxStepMessageBytes(limits));
    setup.set_build(options_.build);
    *setup.mutable_plan() = plan_;
    setup.set_plan_hash(plan::PlanHash(plan_));
    setup.set_spin_us(spin.count());
    supervisor_ =
        std::make_unique<Supervisor>(setup, options_, region_.get(), exchange_.get(), &generation_);
    if (absl::Status status = supervisor_->Start(); !status.ok()) return status;
    front_ = std::make_unique<runtime::RankThread>(*std::move(rank), 0, runtime::StepSpin(ranks_));
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
  int process_id(int32_t rank) const override {
    return rank == 0 ? getpid() : supervisor_->rank(rank)->pid();
  }
  int64_t weight_bytes(int32_t rank) const override {
    return rank == 0 ? plan_.memory(0).weight_bytes() : supervisor_->rank(rank)->weight_bytes();
  }

  Step* NextStep() override {
    Step* step = &steps_[next_ % 2];
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
    }
    if (!front.status.ok() || generation_.given_up()) combined.Fail(generation_.failure());
    return combined.result();
  }

  void Release() override {
    if (!inside_[finished_ % 2]) return;
    front_->Release();
    generation_.Leave();
  }

  const Step& finished_step() const override { return steps_[finished_ % 2]; }

  kernels::TensorView Trace(std::string_view name) const override {
    return trace_.Assemble(plan_, name, finished_,
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
  RemoteRank::GivenUp GivenUp() const {
    return [this] { return generation_.given_up(); };
  }
  void GiveUp(const absl::Status& why) {
    generation_.GiveUp(absl::UnavailableError(std::string(why.message())));
  }
  // Of the generation that was given up.
  void Abort() {
    exchange_->Abort();
    if (supervisor_ != nullptr) supervisor_->Wake();
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
    if (!remote_result_.status.ok()) return GiveUp(remote_result_.status);
    combined->Add(remote_result_.traffic, remote_result_.logit_traffic,
                  remote_result_.token_value_row_bytes, remote_result_.token_kv_bytes);
  }

  const v1::Plan plan_;
  const ProcessOptions options_;
  const int32_t ranks_;
  std::unique_ptr<runtime::SharedRegion> region_;
  std::unique_ptr<runtime::SharedExchange> exchange_;
  Generation generation_;
  std::unique_ptr<Supervisor> supervisor_;
  std::unique_ptr<runtime::RankThread> front_;
  std::vector<Step> steps_;                        // two
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
  auto executor = std::make_unique<ProcessExecutorImpl>(plan, options);
  if (absl::Status status = executor->Start(weights, setup); !status.ok()) return status;
  return executor;
}

}  // namespace mneme::ranks
