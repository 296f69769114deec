// Invariants:
//   1. What a choice may do changes only between Wait() and the next step's composition, so a span
//      under way always belongs to a choice that the result still concerns, unless its request
//      failed while events were written.
//   2. Every step before the one under way has had its events written.
//   3. A request is in live_ from TakeArrivals to Finalize, and alive until the step submitted
//      before Finalize is through.
#include "engine/schedule/schedule_loop.h"

#include <pthread.h>
#include <sys/prctl.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/schedule/traffic_share.h"
#include "kernels/device/isa.h"

namespace mneme::schedule {
namespace {

// How long the thread looks for a new request before it sleeps: a client that sends its next
// request when the last one ends is served without a wake-up.
constexpr std::chrono::microseconds kIdleSpin{50};

Sampler MakeSampler(const loader::ModelDescription& model) {
  return {static_cast<int32_t>(model.vocab_size), ResolveLogitRow(kernels::DetectIsa())};
}

Logprobs MakeLogprobs(const loader::ModelDescription& model) {
  return {static_cast<int32_t>(model.vocab_size), static_cast<int32_t>(model.embedding_size),
          ResolveLogitRow(kernels::DetectIsa())};
}

double Seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace

ScheduleLoop::ScheduleLoop(runtime::Executor* executor, const loader::ModelDescription& model,
                           const ScheduleOptions& options)
    : executor_(executor),
      options_(options),
      health_(executor),
      limits_(executor->limits()),
      // Enqueue refuses a request when max_waiting others do not run, and at most max_sequences
      // run.
      most_live_(static_cast<size_t>(std::max(options.max_waiting, 0)) +
                 static_cast<size_t>(limits_.max_sequences) + 1),
      scheduler_(limits_, options),
      settler_(MakeSampler(model)),
      writer_(MakeLogprobs(model)) {
  for (auto* list : {&arrivals_, &taken_, &live_, &retired_, &retired_before_}) {
    list->reserve(most_live_);
  }
  ending_.reserve(most_live_);
  const size_t most_spans = static_cast<size_t>(limits_.max_sequences);
  spans_.reserve(most_spans);
  next_spans_.reserve(most_spans);
  observed_ids_.reserve(most_spans);
  stats_.kv_blocks_total = limits_.kv_blocks;
  stats_.kv_block_tokens = limits_.kv_block_tokens;
  generation_ = executor_->state().generation;
  PublishStats();
  executor_->SetStateListener([this] {
    doorbell_->Ring();
    health_.Tell();
  });
  thread_ = std::thread([this] { Loop(); });
  pthread_setname_np(thread_.native_handle(), "mneme-schedule");
}

ScheduleLoop::~ScheduleLoop() {
  executor_->SetStateListener({});
  Drain();
  stopping_.store(true);
  doorbell_->Ring();
  thread_.join();
}

absl::Status ScheduleLoop::Enqueue(std::shared_ptr<Request> request) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (draining_) return absl::UnavailableError("the server is shutting down");
    if (!executor_->state().ready) return executor_->failure();
    const int64_t waiting = live_count_.load() - running_requests_.load();
    if (waiting >= options_.max_waiting || arrivals_.size() + 1 >= most_live_) {
      return absl::ResourceExhaustedError(
          absl::StrCat("queue: ", waiting, " requests wait, the limit is ", options_.max_waiting));
    }
    live_count_.fetch_add(1);
    arrivals_.push_back(std::move(request));
    has_arrivals_.store(true, std::memory_order_release);
  }
  doorbell_->Ring();
  return absl::OkStatus();
}

void ScheduleLoop::Drain() {
  const std::lock_guard<std::mutex> lock(mutex_);
  draining_ = true;
}

void ScheduleLoop::Loop() {
  // The executor may sleep until shortly before a step is done: 1 ns instead of 50 us too late.
  prctl(PR_SET_TIMERSLACK, 1);
  for (;;) {
    if (under_way_) {
      FinishStep();
    } else if (!Idle()) {
      return;
    }
  }
}

bool ScheduleLoop::Idle() {
  const uint32_t seen = doorbell_->rings();
  const bool stopping = TakeChanges();
  WriteEnds();
  ComposeAndSubmit();
  PublishStats();
  if (under_way_) return true;
  retired_before_.clear();
  if (live_.empty() && stopping) return false;
  doorbell_->Await(seen, kIdleSpin);
  return true;
}

void ScheduleLoop::FinishStep() {
  const runtime::StepResult& result = executor_->Wait();
  under_way_ = false;
  std::swap(spans_, next_spans_);
  TakeChanges();
  if (result.status.ok()) {
    Settle(result);
  } else {
    FailStep(result.status);
  }
  // An observer sees the executor as the step left it, so nothing may run beside it.
  const bool overlap = options_.observer == nullptr;
  if (overlap) ComposeAndSubmit();
  ++stats_.steps_total;
  if (result.status.ok()) {
    if (!overlap) Observe(result);
    WriteStep(result);
  }
  WriteEnds();
  executor_->Release();
  spans_.clear();
  if (!overlap) ComposeAndSubmit();
  PublishStats();
}

bool ScheduleLoop::TakeChanges() {
  // Both before the arrivals are taken. Who cancels a request, or stops, queued it before and rings
  // afterwards: whatever these rings tell of is then among the live ones, and a ring that comes
  // later is a new one for the next call.
  const uint32_t rings = doorbell_->rings();
  const bool stopping = stopping_.load();
  TakeArrivals();
  if (rings != seen_rings_ || stopping) EndCancelled(stopping);
  if (rings != seen_rings_) CheckKv();
  seen_rings_ = rings;
  return stopping;
}

void ScheduleLoop::CheckKv() {
  const runtime::ExecutorState state = executor_->state();
  if (state.ready && state.generation == generation_) return;
  for (const std::shared_ptr<Request>& request : live_) {
    if (request->running > 0) End(request.get(), FinishReason::kError, executor_->failure());
  }
  scheduler_.ForgetCache();
  generation_ = state.generation;
}

void ScheduleLoop::TakeArrivals() {
  if (!has_arrivals_.load(std::memory_order_acquire)) return;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::swap(taken_, arrivals_);
    has_arrivals_.store(false, std::memory_order_relaxed);
  }
  for (std::shared_ptr<Request>& request : taken_) {
    request->live_index = live_.size();
    for (const std::unique_ptr<Choice>& choice : request->choices) {
      choice->ticket = next_ticket_++;
      scheduler_.Add(choice.get());
    }
    if (request->params.echo) StartEchoes(request.get());
    ++stats_.requests_total;
    stats_.prompt_tokens_total += request->prompt_tokens;
    live_.push_back(std::move(request));
  }
  taken_.clear();
}

void ScheduleLoop::EndCancelled(bool all) {
  for (const std::shared_ptr<Request>& request : live_) {
    if (all || request->cancel.load(std::memory_order_acquire)) {
      End(request.get(), FinishReason::kCancelled, absl::OkStatus());
    }
  }
}

void ScheduleLoop::ComposeAndSubmit() {
  if (!executor_->state().ready) return;
  if (next_step_ == nullptr) next_step_ = executor_->NextStep();
  next_step_->generation = generation_;
  next_spans_.clear();
  scheduler_.Compose(Clock::now(), next_step_, &next_spans_);
  running_requests_.store(scheduler_.running_requests());
  if (next_step_->empty()) return;
  executor_->Submit();
  next_step_ = nullptr;
  under_way_ = true;
}

void ScheduleLoop::Settle(const runtime::StepResult& result) {
  for (ScheduledSpan& span : spans_) {
    Choice* choice = span.choice;
    if (choice->state == ChoiceState::kFinished) continue;
    Request* request = choice->request;
    const bool was_ready = request->prompt_ready;
    scheduler_.Advance(span);
    if (!was_ready && request->prompt_ready && request->params.echo) StartEchoes(request);
    if (!settler_.Settle(result, &span)) {
      Distrust(request);
      End(request, FinishReason::kError,
          absl::InternalError(absl::StrCat("the logits of choice ", choice->index, " at position ",
                                           choice->tokens.size() - 1, " are not finite")));
      continue;
    }
    if (!span.ends) continue;
    scheduler_.Finish(choice);
    if (request->max_tokens == 0) EndSiblings(choice);
  }
}

// Of a request that only evaluates its prompt, the first choice has done it for all.
void ScheduleLoop::EndSiblings(Choice* leader) {
  for (const std::unique_ptr<Choice>& choice : leader->request->choices) {
    if (choice->state == ChoiceState::kFinished) continue;
    scheduler_.Finish(choice.get());
    choice->finish = FinishReason::kLength;
  }
}

// Its KV is undefined, or the reason of what is wrong: nobody may find it in the prefix cache.
void ScheduleLoop::Distrust(Request* request) {
  for (const std::unique_ptr<Choice>& choice : request->choices) scheduler_.Distrust(choice.get());
}

void ScheduleLoop::FailStep(const absl::Status& status) {
  for (const ScheduledSpan& span : spans_) {
    if (span.choice->state == ChoiceState::kFinished) continue;
    Distrust(span.choice->request);
    End(span.choice->request, FinishReason::kError, status);
  }
}

void ScheduleLoop::WriteStep(const runtime::StepResult& result) {
  AttributeTraffic(result);
  const Clock::time_point now = Clock::now();
  for (const ScheduledSpan& span : spans_) {
    Choice* choice = span.choice;
    Request* request = choice->request;
    // What was cancelled says nothing more.
    if (request->ending || choice->finish_written) continue;
    if (!writer_.WriteSpan(span, result)) {
      Distrust(request);
      End(request, FinishReason::kError,
          absl::InternalError(
              absl::StrCat("the logits of request '", request->params.id, "' are not finite")));
      continue;
    }
    if (span.sample_row >= 0 && request->first_token == Clock::time_point{}) {
      request->first_token = now;
    }
    stats_.output_tokens_total += span.emits ? 1 : 0;
    if (span.ends && request->max_tokens == 0) {
      for (const std::unique_ptr<Choice>& each : request->choices) WriteEnd(each.get());
    } else if (span.ends) {
      WriteEnd(choice);
    }
    if (span.promised > 0 || span.ends) Notify(request);
  }
}

void ScheduleLoop::AttributeTraffic(const runtime::StepResult& result) {
  const runtime::Step& step = executor_->finished_step();
  const TrafficShare share(result, step.tokens(), static_cast<int32_t>(step.logit_rows().size()));
  for (const ScheduledSpan& span : spans_) {
    Request* request = span.choice->request;
    // One that failed while this step ran has reported its usage already.
    if (request->finished.load(std::memory_order_relaxed)) continue;
    share.Add(span.first_row, span.rows, span.logit_rows(), &request->usage);
  }
  stats_.traffic_total += result.traffic;
  stats_.step_seconds_total += result.step_seconds;
  stats_.runtime_seconds_total += result.runtime_seconds;
}

void ScheduleLoop::End(Request* request, FinishReason reason, const absl::Status& status) {
  if (request->ending) return;
  request->ending = true;
  request->status = status;
  for (const std::unique_ptr<Choice>& choice : request->choices) {
    if (choice->finish_written) continue;
    if (choice->state != ChoiceState::kFinished) scheduler_.Finish(choice.get());
    choice->finish = reason;
    choice->stop_token_id = -1;
    choice->stop_string = -1;
  }
  ending_.push_back(request);
}

void ScheduleLoop::WriteEnds() {
  for (Request* request : ending_) {
    for (const std::unique_ptr<Choice>& choice : request->choices) WriteEnd(choice.get());
    Notify(request);
  }
  ending_.clear();
  writer_.Pump(Clock::now(), [this](Request* request) {
    if (request->unfinished == 0) Finalize(request);
    Notify(request);
  });
  retired_before_.clear();
  std::swap(retired_, retired_before_);
}

void ScheduleLoop::WriteEnd(Choice* choice) {
  if (choice->finish_written) return;
  writer_.WriteEnd(choice);
  if (choice->request->unfinished == 0) Finalize(choice->request);
}

void ScheduleLoop::Finalize(Request* request) {
  const Clock::time_point now = Clock::now();
  const Clock::time_point never{};
  RequestUsage& usage = request->usage;
  const Clock::time_point started = request->started == never ? now : request->started;
  const Clock::time_point first = request->first_token == never ? now : request->first_token;
  usage.queue_seconds = Seconds(started - request->submitted);
  usage.prefill_seconds = Seconds(first - started);
  usage.decode_seconds = Seconds(now - first);

  const size_t i = request->live_index;
  retired_.push_back(std::move(live_[i]));
  if (i + 1 < live_.size()) {
    live_[i] = std::move(live_.back());
    live_[i]->live_index = i;
  }
  live_.pop_back();
  live_count_.fetch_sub(1);
  // Before anyone can know that it is done: its blocks are free in the numbers, too.
  PublishStats();
  request->finished.store(true, std::memory_order_release);
}

void ScheduleLoop::StartEchoes(Request* request) {
  for (const std::unique_ptr<Choice>& choice : request->choices) {
    // The first choice's prompt may go out at once unless its log-probabilities come before it.
    const bool first = choice->index == 0 && !request->params.prompt_logprobs;
    if ((first || request->prompt_ready) && choice->EchoPending()) writer_.StartEcho(choice.get());
  }
}

void ScheduleLoop::Notify(Request* request) {
  // A request is in one of the two lists; the one just finished is the last retired.
  const std::shared_ptr<Request>& owner = request->finished.load(std::memory_order_relaxed)
                                              ? retired_.back()
                                              : live_[request->live_index];
  notifier_.Notify(&request->gate, owner);
}

void ScheduleLoop::Observe(const runtime::StepResult& result) {
  observed_ids_.clear();
  for (const ScheduledSpan& span : spans_) {
    observed_ids_.push_back(span.choice->request->params.id);
  }
  options_.observer->OnStep(executor_->finished_step(), result, *executor_, observed_ids_);
}

void ScheduleLoop::PublishStats() {
  stats_.requests_running = scheduler_.running_requests();
  stats_.requests_waiting = live_count_.load() - stats_.requests_running;
  stats_.cached_tokens_total = scheduler_.cached_tokens();
  stats_.preemptions_total = scheduler_.preemptions();
  stats_.kv_blocks_free = scheduler_.free_blocks();
  running_requests_.store(stats_.requests_running);
  counters_.Store(stats_);
}

}  // namespace mneme::schedule
