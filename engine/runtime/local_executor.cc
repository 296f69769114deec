#include "engine/runtime/local_executor.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/device/host_cores.h"

namespace mneme::runtime {
namespace {

// How long each side looks before it sleeps. A decode step of a small model takes a few hundred
// microseconds and the schedule's part of it a few tens, so the rank rarely sleeps between steps,
// and the schedule sleeps while a step runs.
constexpr std::chrono::microseconds kSpin{50};

constexpr std::chrono::microseconds kNoSpin{0};

// Whoever looks keeps a core from others. Ranks that meet in the middle of a step look if each has
// a core. Between steps they and the schedule look only if a core is left for it: else the schedule
// works on a core of theirs (2 ranks on 2 cores: 1.5 times the tokens per second that looking
// gave).
std::chrono::microseconds ExchangeSpin(int32_t ranks) {
  return ranks <= kernels::UsableCores() ? kSpin : kNoSpin;
}
std::chrono::microseconds StepSpin(int32_t ranks) {
  return ranks < kernels::UsableCores() ? kSpin : kNoSpin;
}

}  // namespace

absl::StatusOr<std::unique_ptr<LocalExecutor>> LocalExecutor::Create(
    const v1::Plan& plan, const loader::PackedWeights& weights, bool reference_kernels) {
  const int32_t ranks = plan.cluster().ranks();
  const std::chrono::microseconds spin = StepSpin(ranks);
  std::unique_ptr<Exchange> exchange;
  if (ranks > 1) exchange = std::make_unique<Exchange>(ranks, ExchangeSpin(ranks));
  std::vector<std::unique_ptr<Worker>> workers;
  for (int32_t r = 0; r < ranks; ++r) {
    absl::StatusOr<std::unique_ptr<Rank>> rank = Rank::Create(
        plan, weights,
        {.rank = r, .exchange = exchange.get(), .reference_kernels = reference_kernels});
    if (!rank.ok()) return rank.status();
    workers.push_back(std::make_unique<Worker>(std::move(*rank), spin));
  }
  return std::unique_ptr<LocalExecutor>(
      new LocalExecutor(std::move(exchange), std::move(workers), spin > kNoSpin));
}

LocalExecutor::LocalExecutor(std::unique_ptr<Exchange> exchange,
                             std::vector<std::unique_ptr<Worker>> workers, bool looks)
    : looks_(looks),
      exchange_(std::move(exchange)),
      workers_(std::move(workers)),
      steps_{Step(front().limits()), Step(front().limits())} {
  for (auto* bytes : {&value_row_bytes_, &expert_bytes_, &kv_bytes_}) {
    for (std::vector<double>& of_slot : *bytes) of_slot.resize(limits().max_tokens);
  }
  for (size_t r = 0; r < workers_.size(); ++r) {
    Worker* worker = workers_[r].get();
    worker->thread = std::thread([this, worker] { Loop(worker); });
    pthread_setname_np(worker->thread.native_handle(), absl::StrCat("mneme-rank-", r).c_str());
  }
}

LocalExecutor::~LocalExecutor() {
  for (auto& worker : workers_) worker->submitted.Close();
  for (auto& worker : workers_) worker->thread.join();
}

Step* LocalExecutor::NextStep() {
  uint32_t number = 0;
  for (auto& worker : workers_) number = worker->submitted.WaitCredit();
  Step* step = &steps_[number % 2];
  step->Clear();
  step->number = next_step_number_;
  return step;
}

void LocalExecutor::Submit() {
  submitted_at_[(next_step_number_ - 1) % 2] = Clock::now();
  ++next_step_number_;
  for (auto& worker : workers_) worker->submitted.Publish();
}

const StepResult& LocalExecutor::Wait() {
  const Clock::time_point expected = ExpectedEnd();
  for (auto& worker : workers_) worker->finished.WaitWritten(&finished_slot_, expected);
  const StepResult& result =
      workers_.size() == 1 ? workers_[0]->results[finished_slot_ % 2] : Combine(finished_slot_ % 2);
  const int32_t tokens = finished_step().tokens();
  // The shortest lately: steps grow slowly with their context, and what delays one is chance.
  const bool same = tokens == estimated_tokens_;
  estimated_seconds_ =
      same ? std::min(result.step_seconds, 1.02 * estimated_seconds_) : result.step_seconds;
  estimated_tokens_ = tokens;
  return result;
}

const StepResult& LocalExecutor::Combine(int32_t slot) {
  StepResult& all = combined_[slot];
  const StepResult& front = workers_[0]->results[slot];
  all = front;
  const size_t tokens = front.token_kv_bytes.size();
  std::fill_n(value_row_bytes_[slot].begin(), tokens, 0.0);
  std::fill_n(expert_bytes_[slot].begin(), tokens, 0.0);
  std::fill_n(kv_bytes_[slot].begin(), tokens, 0.0);
  all.traffic = {};
  all.logit_traffic = {};
  for (auto& worker : workers_) {
    const StepResult& result = worker->results[slot];
    all.traffic += result.traffic;
    all.logit_traffic += result.logit_traffic;
    for (size_t t = 0; t < tokens; ++t) {
      value_row_bytes_[slot][t] += result.token_value_row_bytes[t];
      expert_bytes_[slot][t] += result.token_expert_bytes[t];
      kv_bytes_[slot][t] += result.token_kv_bytes[t];
    }
  }
  all.token_value_row_bytes = {value_row_bytes_[slot].data(), tokens};
  all.token_expert_bytes = {expert_bytes_[slot].data(), tokens};
  all.token_kv_bytes = {kv_bytes_[slot].data(), tokens};
  return all;
}

LocalExecutor::Clock::time_point LocalExecutor::ExpectedEnd() const {
  const uint32_t oldest = finished_slot_ + 1;
  if (!looks_ || steps_[oldest % 2].tokens() != estimated_tokens_) return {};
  return submitted_at_[oldest % 2] + std::chrono::duration_cast<Clock::duration>(
                                         std::chrono::duration<double>(estimated_seconds_));
}

void LocalExecutor::Release() {
  for (auto& worker : workers_) worker->finished.Release();
}

const Step& LocalExecutor::finished_step() const { return steps_[finished_slot_ % 2]; }

kernels::TensorView LocalExecutor::Trace(std::string_view name) const {
  const v1::Plan& plan = front().plan();
  int32_t found = -1;
  for (int32_t i = 0; i < plan.registers_size(); ++i) {
    const v1::Register& r = plan.registers(i);
    if (!r.kept() || r.name() != name) continue;
    // A tensor may lie in several layouts: whole is best.
    if (r.layout().kind() == v1::Layout::BROADCAST) return front().Kept(i);
    found = i;
  }
  if (found < 0) return {};
  const v1::Layout& layout = plan.registers(found).layout();
  const bool split = layout.kind() == v1::Layout::SPLIT;
  const int64_t rows = front().Kept(found).rows;
  const int64_t cols =
      split ? layout.parts(layout.parts_size() - 1).end() : plan.registers(found).cols();
  const auto it = traced_.try_emplace(std::string(name)).first;
  std::vector<float>& values = it->second.values;
  const auto view = [&] {
    return kernels::MakeTensorView(kernels::MakeMatrix<const float>(values.data(), rows, cols));
  };
  if (std::exchange(it->second.step, finished_step().number) == finished_step().number) {
    return view();
  }
  values.assign(static_cast<size_t>(rows * cols), 0.0f);
  for (int32_t r = 0; r < ranks(); ++r) {
    const auto part = rank(r).Kept(found).As<float>();
    const int64_t begin = split ? layout.parts(r).begin() : 0;
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t i = 0; i < part.cols; ++i) values[row * cols + begin + i] += part.row(row)[i];
    }
  }
  return view();
}

void LocalExecutor::Loop(Worker* worker) {
  uint32_t number = 0;
  while (worker->submitted.WaitWritten(&number)) {
    // The result's slot is free: the schedule has at most two steps submitted and not released.
    worker->finished.WaitCredit();
    worker->rank->Run(steps_[number % 2], static_cast<int32_t>(number % 2),
                      &worker->results[number % 2]);
    worker->submitted.Release();
    worker->finished.Publish();
  }
}

}  // namespace mneme::runtime
