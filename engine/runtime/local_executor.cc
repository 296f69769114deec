#include "engine/runtime/local_executor.h"

#include <algorithm>
#include <utility>

namespace mneme::runtime {

absl::StatusOr<std::unique_ptr<LocalExecutor>> LocalExecutor::Create(
    const v1::Plan& plan, const loader::PackedWeights& weights, bool reference_kernels,
    const HangOptions& hang) {
  return Bind(plan, weights, {.reference_kernels = reference_kernels}, hang);
}

absl::StatusOr<std::unique_ptr<LocalExecutor>> LocalExecutor::CreateEmpty(
    const v1::Plan& plan, const loader::PackedWeights& weights) {
  return Bind(plan, weights, {.empty_operators = true}, {});
}

absl::StatusOr<std::unique_ptr<LocalExecutor>> LocalExecutor::Bind(
    const v1::Plan& plan, const loader::PackedWeights& weights, const RankOptions& options,
    const HangOptions& hang) {
  const int32_t ranks = plan.cluster().ranks();
  std::unique_ptr<SharedRegion> region;
  std::vector<std::unique_ptr<SharedExchange>> exchanges(ranks);
  if (ranks > 1) {
    absl::StatusOr<std::unique_ptr<SharedRegion>> created =
        SharedRegion::Create(ranks, plan.arena_bytes());
    if (!created.ok()) return created.status();
    region = *std::move(created);
    for (int32_t r = 0; r < ranks; ++r) {
      exchanges[r] = std::make_unique<SharedExchange>(region.get(), r, ExchangeSpin(ranks));
    }
  }
  std::vector<std::unique_ptr<Rank>> bound;
  bound.reserve(ranks);
  for (int32_t r = 0; r < ranks; ++r) {
    RankOptions own = options;
    own.rank = r;
    own.exchange = exchanges[r].get();
    if (r == hang.test_rank) own.test_hang = hang.test_hang;
    absl::StatusOr<std::unique_ptr<Rank>> rank = Rank::Create(plan, weights, own);
    if (!rank.ok()) return rank.status();
    bound.push_back(*std::move(rank));
  }
  std::unique_ptr<LocalExecutor> executor(
      new LocalExecutor(std::move(region), std::move(exchanges), bound[0]->limits()));
  for (int32_t r = 0; r < ranks; ++r) {
    executor->threads_.push_back(
        std::make_unique<RankThread>(std::move(bound[r]), r, StepSpin(ranks)));
  }
  executor->looks_ = StepSpin(ranks).count() > 0;
  std::vector<Watchdog::Watched> watched;
  watched.reserve(ranks);
  for (int32_t r = 0; r < ranks; ++r) {
    watched.push_back({executor->threads_[r].get(), executor->exchanges_[r].get()});
  }
  executor->watchdog_ = std::make_unique<Watchdog>(
      std::move(watched), hang, [raw = executor.get()](const std::string& why) { raw->Hang(why); });
  return executor;
}

LocalExecutor::LocalExecutor(std::unique_ptr<SharedRegion> region,
                             std::vector<std::unique_ptr<SharedExchange>> exchanges,
                             const StepLimits& limits)
    : region_(std::move(region)),
      exchanges_(std::move(exchanges)),
      steps_{Step(limits), Step(limits)},
      spare_(limits),
      combined_{CombinedResult(limits.max_tokens), CombinedResult(limits.max_tokens)} {}

LocalExecutor::~LocalExecutor() = default;

// The others come out of their waits, and the schedule out of its own.
void LocalExecutor::Hang(const std::string& why) {
  {
    const std::lock_guard lock(state_mutex_);
    why_ = why;
  }
  hung_.store(true);
  if (region_ != nullptr) region_->Abort();
  for (auto& thread : threads_) thread->Fail(why);
  const std::lock_guard lock(listener_mutex_);
  if (listener_) listener_();
}

absl::Status LocalExecutor::failure() const {
  const std::lock_guard lock(state_mutex_);
  return hung_.load() ? absl::UnavailableError(why_) : absl::OkStatus();
}

void LocalExecutor::SetStateListener(std::function<void()> listener) {
  const std::lock_guard lock(listener_mutex_);
  listener_ = std::move(listener);
}

Step* LocalExecutor::NextStep() {
  // The rank that hangs may still read the others.
  Step* step = hung_.load() ? &spare_ : &steps_[next_step_number_ % 2];
  step->Clear();
  step->number = next_step_number_;
  return step;
}

void LocalExecutor::Submit() {
  const Step* step = &steps_[next_step_number_ % 2];
  submitted_at_[next_step_number_ % 2] = Clock::now();
  ++next_step_number_;
  if (hung_.load()) return;
  for (auto& thread : threads_) thread->Submit(step);
}

const StepResult& LocalExecutor::Wait() {
  const Clock::time_point expected = ExpectedEnd();
  ++finished_;
  CombinedResult& combined = combined_[finished_ % 2];
  const auto fail = [&]() -> const StepResult& {
    combined.Fail(failure());
    return combined.result();
  };
  if (hung_.load()) return fail();
  const StepResult* result = nullptr;
  for (auto& thread : threads_) {
    const StepResult& of_rank = thread->Wait(expected);
    if (hung_.load()) return fail();
    if (result == nullptr) {
      result = &of_rank;
      if (threads_.size() == 1) break;
      combined.Start(of_rank);
      result = &combined.result();
    } else {
      combined.Add(of_rank.traffic, of_rank.logit_traffic, of_rank.token_value_row_bytes,
                   of_rank.token_expert_bytes, of_rank.token_kv_bytes);
    }
  }
  const int32_t tokens = finished_step().tokens();
  // The shortest lately: steps grow slowly with their context, and what delays one is chance.
  const bool same = tokens == estimated_tokens_;
  estimated_seconds_ =
      same ? std::min(result->step_seconds, 1.02 * estimated_seconds_) : result->step_seconds;
  estimated_tokens_ = tokens;
  return *result;
}

LocalExecutor::Clock::time_point LocalExecutor::ExpectedEnd() const {
  const uint64_t oldest = finished_ + 1;
  if (!looks_ || steps_[oldest % 2].tokens() != estimated_tokens_) return {};
  return submitted_at_[oldest % 2] + std::chrono::duration_cast<Clock::duration>(
                                         std::chrono::duration<double>(estimated_seconds_));
}

void LocalExecutor::Release() {
  if (hung_.load()) return;
  for (auto& thread : threads_) thread->Release();
}

int64_t LocalExecutor::credits_out() const {
  int64_t out = region_ == nullptr ? 0 : region_->credits_out();
  for (const auto& thread : threads_) out += thread->credits_out();
  return out;
}

const Step& LocalExecutor::finished_step() const {
  return hung_.load() ? spare_ : steps_[finished_ % 2];
}

kernels::TensorView LocalExecutor::Trace(std::string_view name) const {
  return trace_.Assemble(front().plan(), name, finished_,
                         [this](int32_t r, int32_t reg) { return rank(r).Kept(reg); });
}

}  // namespace mneme::runtime
