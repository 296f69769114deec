// Invariants, between calls:
//   1. A choice is in waiting_ if its state is kWaiting, in running_ if it is kRunning.
//   2. A running choice has a slot and at least BlocksFor(computed) blocks; others have neither.
//   3. 0 <= computed < tokens.size() for a choice that may still run.
//   4. A running choice's blocks before its first own one are referenced by others or by the prefix
//      cache only up to (tokens - 1) / block_tokens: no two choices ever write one block.
//
// No livelock: the oldest choice whose reader keeps up preempts everybody else before itself, and
// alone it fits, because validation refused what does not. No starvation: nobody younger is
// admitted while an older choice that could run waits.
#include "engine/schedule/scheduler.h"

#include <algorithm>

namespace mneme::schedule {
namespace {

// How long a reader may be behind before others' waiting costs its choices their blocks.
constexpr std::chrono::milliseconds kPatience{20};

// Events that the span's prompt rows cause: each tells of the token behind it, if that is the
// prompt's.
int32_t PromptEvents(const Request& request, const ScheduledSpan& span) {
  if (!request.params.prompt_logprobs) return 0;
  const int32_t end = span.first_prompt_position + span.prompt_rows;
  return span.prompt_rows - (span.prompt_rows > 0 && end == request.prompt_tokens ? 1 : 0);
}

}  // namespace

Scheduler::Scheduler(const runtime::StepLimits& limits, const ScheduleOptions& options)
    : limits_(limits),
      prefix_cache_(options.prefix_cache),
      prefill_chunk_(std::clamp(options.prefill_chunk, 1, limits.max_tokens)),
      // Every running choice can have a row, with logits, in one step.
      most_running_(std::min({limits.max_sequences, limits.max_tokens, limits.max_logit_rows})),
      blocks_(limits.kv_blocks, limits.kv_block_tokens) {
  for (int32_t slot = limits.max_sequences - 1; slot >= 0; --slot) free_slots_.push_back(slot);
}

void Scheduler::Add(Choice* choice) {
  choice->state = ChoiceState::kWaiting;
  waiting_.Insert(choice);
}

void Scheduler::Finish(Choice* choice) { Stop(choice, ChoiceState::kFinished); }

void Scheduler::Distrust(Choice* choice) {
  for (int32_t block : choice->blocks) blocks_.Unpublish(block);
  // One that has finished or was preempted has no table any more: its blocks are found as a prompt
  // would find them.
  const int32_t block_tokens = limits_.kv_block_tokens;
  const int32_t full = static_cast<int32_t>(choice->tokens.size()) / block_tokens;
  uint64_t parent = kRootSerial;
  for (int32_t i = 0; i < full; ++i) {
    const int32_t block = blocks_.Find(parent, choice->HashOf(i, block_tokens),
                                       choice->TokensOfBlock(i, block_tokens));
    if (block == kNoBlock) return;
    parent = blocks_.serial(block);
    blocks_.Unpublish(block);
  }
}

void Scheduler::Compose(Clock::time_point now, runtime::Step* step,
                        std::vector<ScheduledSpan>* spans) {
  now_ = now;
  ++composed_;
  step_ = step;
  spans_ = spans;
  tokens_left_ = limits_.max_tokens;
  logit_rows_left_ = limits_.max_logit_rows;
  ScheduleDecodes();
  prefill_left_ = spans->empty() ? tokens_left_ : std::min(tokens_left_, prefill_chunk_);
  SchedulePrefills();
  AdmitWaiting();
}

void Scheduler::ScheduleDecodes() {
  for (Choice* choice = running_.first(); choice != nullptr; choice = choice->next) {
    const int32_t known = static_cast<int32_t>(choice->tokens.size());
    if (known - choice->computed != 1 || choice->request->paused.load(std::memory_order_relaxed)) {
      continue;
    }
    // Victims are younger, or paused and not in the step. If the choice itself had
    // to go, everybody after it went before.
    if (!EnsureBlocks(choice, known)) return;
    Schedule(choice, 1);
  }
}

void Scheduler::SchedulePrefills() {
  for (Choice* choice = running_.first(); choice != nullptr && prefill_left_ > 0;
       choice = choice->next) {
    if (static_cast<int32_t>(choice->tokens.size()) - choice->computed > 1 &&
        !choice->request->paused.load(std::memory_order_relaxed)) {
      prefill_left_ -= Schedule(choice, prefill_left_);
    }
  }
}

void Scheduler::AdmitWaiting() {
  Choice* choice = waiting_.first();
  while (choice != nullptr && prefill_left_ > 0) {
    Choice* next = choice->next;
    if (!Eligible(*choice)) {
      choice = next;
      continue;
    }
    if (Admit(choice)) {
      prefill_left_ -= Schedule(choice, prefill_left_);
      choice = next;
    } else if (!PreemptPaused()) {
      // First come, first served: nobody overtakes.
      return;
    }
  }
}

bool Scheduler::Eligible(const Choice& choice) const {
  const Request& request = *choice.request;
  if (request.paused.load(std::memory_order_relaxed)) return false;
  return choice.index == 0 || request.prompt_ready;
}

bool Scheduler::Admit(Choice* choice) {
  if (running_.size() >= most_running_) return false;
  const int32_t known = static_cast<int32_t>(choice->tokens.size());
  const int32_t cached_blocks = ReuseBlocks(choice);
  const int32_t reused = static_cast<int32_t>(choice->blocks.size());
  const int32_t needed = BlocksFor(known) - reused;
  // Those that run will soon want a block each; without a reserve for them, whoever comes in now
  // would be thrown out again in a moment.
  const int32_t reserve = std::min(running_.size(), limits_.kv_blocks / 16);
  if (blocks_.free_blocks() < needed + reserve) {
    ReleaseBlocks(choice);
    return false;
  }
  for (int32_t i = 0; i < needed; ++i) choice->blocks.push_back(blocks_.Allocate());
  choice->slot = free_slots_.back();
  free_slots_.pop_back();
  choice->computed = reused * limits_.kv_block_tokens;
  choice->sent_blocks = 0;
  waiting_.Remove(choice);
  choice->state = ChoiceState::kRunning;
  running_.Insert(choice);

  Request& request = *choice->request;
  if (request.running++ == 0) ++running_requests_;
  if (request.started == Clock::time_point{}) {
    request.started = now_;
    request.usage.cached_tokens = cached_blocks * limits_.kv_block_tokens;
    cached_tokens_ += request.usage.cached_tokens;
  }
  return true;
}

int32_t Scheduler::ReuseBlocks(Choice* choice) {
  const Request& request = *choice->request;
  const int32_t block_tokens = limits_.kv_block_tokens;
  // At least one token is computed, for its logits.
  int32_t most = (static_cast<int32_t>(choice->tokens.size()) - 1) / block_tokens;
  const bool wants_rows =
      choice->index == 0 && request.prompt_rows_done < request.prompt_rows_end();
  if (wants_rows) most = std::min(most, request.prompt_rows_done / block_tokens);
  choice->serial = kRootSerial;
  choice->publishes = prefix_cache_;
  const int32_t cached = prefix_cache_ ? FindCached(choice, most) : 0;
  choice->published = cached;
  if (cached < request.shared_blocks && !wants_rows) ShareWithSibling(choice);
  return cached;
}

int32_t Scheduler::FindCached(Choice* choice, int32_t most) {
  const int32_t block_tokens = limits_.kv_block_tokens;
  for (int32_t i = 0; i < most; ++i) {
    const int32_t block = blocks_.Find(choice->serial, choice->HashOf(i, block_tokens),
                                       choice->TokensOfBlock(i, block_tokens));
    if (block == kNoBlock) return i;
    blocks_.AddReference(block);
    choice->blocks.push_back(block);
    choice->serial = blocks_.serial(block);
  }
  return most;
}

void Scheduler::ShareWithSibling(Choice* choice) {
  const Request& request = *choice->request;
  for (const std::unique_ptr<Choice>& sibling : request.choices) {
    if (sibling->state != ChoiceState::kRunning ||
        sibling->computed < request.shared_blocks * limits_.kv_block_tokens) {
      continue;
    }
    for (int32_t i = static_cast<int32_t>(choice->blocks.size()); i < request.shared_blocks; ++i) {
      const int32_t block = sibling->blocks[static_cast<size_t>(i)];
      blocks_.AddReference(block);
      choice->blocks.push_back(block);
    }
    choice->publishes = false;
    return;
  }
}

void Scheduler::ReleaseBlocks(Choice* choice) {
  for (auto it = choice->blocks.rbegin(); it != choice->blocks.rend(); ++it) blocks_.Release(*it);
  choice->blocks.clear();
}

bool Scheduler::EnsureBlocks(Choice* choice, int32_t tokens) {
  const size_t needed = static_cast<size_t>(BlocksFor(tokens));
  while (choice->blocks.size() < needed) {
    const int32_t block = blocks_.Allocate();
    if (block != kNoBlock) {
      choice->blocks.push_back(block);
    } else if (!PreemptFor(choice)) {
      return false;
    }
  }
  return true;
}

bool Scheduler::PreemptFor(Choice* choice) {
  Choice* victim = nullptr;
  for (Choice* c = running_.last(); c != nullptr && victim == nullptr; c = c->previous) {
    if (c->request->paused.load(std::memory_order_relaxed) && !InStep(*c)) victim = c;
  }
  if (victim == nullptr) victim = running_.last();
  Preempt(victim);
  return victim != choice;
}

bool Scheduler::PreemptPaused() {
  for (Choice* c = running_.last(); c != nullptr; c = c->previous) {
    const Request& request = *c->request;
    if (!request.paused.load(std::memory_order_relaxed) || InStep(*c)) continue;
    // When nothing else runs, waiting for the reader would waste the machine.
    if (spans_->empty() || now_ - request.paused_since >= kPatience) {
      Preempt(c);
      return true;
    }
  }
  return false;
}

void Scheduler::Preempt(Choice* choice) {
  Stop(choice, ChoiceState::kWaiting);
  waiting_.Insert(choice);
  ++choice->request->usage.preemptions;
  ++preemptions_;
}

void Scheduler::Stop(Choice* choice, ChoiceState state) {
  if (choice->state == ChoiceState::kRunning) {
    running_.Remove(choice);
    if (--choice->request->running == 0) --running_requests_;
    ReleaseBlocks(choice);
    free_slots_.push_back(choice->slot);
    choice->slot = -1;
    choice->computed = 0;
  } else if (choice->state == ChoiceState::kWaiting) {
    waiting_.Remove(choice);
  }
  choice->state = state;
}

// With room for one event, a budget and a logit row left, at least one row is scheduled, unless the
// choice has only its last row left and an echo to wait for. So nobody waits for room without being
// paused, which is what makes the reader wake the schedule.
int32_t Scheduler::Schedule(Choice* choice, int32_t most) {
  Request& request = *choice->request;
  int32_t room = request.Room();
  if (room <= 0) {
    if (request.Pause(now_)) return 0;
    room = request.Room();
  }
  const int32_t known = static_cast<int32_t>(choice->tokens.size());
  const bool draws = request.max_tokens > 0;
  ScheduledSpan span;
  span.choice = choice;
  span.rows = std::min({most, tokens_left_, known - choice->computed});
  // The last row is left for a step that may draw a token from it.
  if (draws && span.rows == known - choice->computed && choice->EchoPending()) --span.rows;
  AddPromptRows(choice, room, &span);
  if (draws && span.rows == known - choice->computed) {
    const int32_t events = PromptEvents(request, span);
    // With all_logits the prompt's last row is a prompt row and drawn from.
    const bool own_row = span.first_prompt_position + span.prompt_rows < known;
    if ((own_row && logit_rows_left_ <= span.prompt_rows) || room <= events) {
      --span.rows;
      if (!own_row) --span.prompt_rows;
    } else {
      span.sample_row = 0;  // its place is known in AddToStep
    }
  }
  if (span.rows <= 0) return 0;
  span.promised = PromptEvents(request, span) + (span.sample_row >= 0 ? 1 : 0);
  request.promised += span.promised;
  AddToStep(choice, span);
  return span.rows;
}

void Scheduler::AddPromptRows(Choice* choice, int32_t room, ScheduledSpan* span) {
  const Request& request = *choice->request;
  const int32_t end = request.prompt_rows_end();
  if (choice->index != 0 || request.prompt_rows_done >= end) return;
  const int32_t first = std::max(choice->computed, request.prompt_rows_done);
  int32_t allowed = logit_rows_left_;
  if (request.params.prompt_logprobs) allowed = std::min(allowed, room);
  const int32_t wanted = std::min(choice->computed + span->rows, end) - first;
  if (wanted > allowed) span->rows = first - choice->computed + allowed;
  span->prompt_rows = std::clamp(wanted, 0, allowed);
  span->first_prompt_position = first;
}

void Scheduler::AddToStep(Choice* choice, ScheduledSpan span) {
  span.first_row = step_->tokens();
  for (int32_t i = choice->sent_blocks; i < static_cast<int32_t>(choice->blocks.size()); ++i) {
    step_->AddBlockChange(choice->slot, i, choice->blocks[static_cast<size_t>(i)]);
  }
  choice->sent_blocks = static_cast<int32_t>(choice->blocks.size());
  step_->AddSpan(
      choice->slot, choice->computed,
      std::span(choice->tokens)
          .subspan(static_cast<size_t>(choice->computed), static_cast<size_t>(span.rows)));
  const int32_t logit_rows = static_cast<int32_t>(step_->logit_rows().size());
  span.first_prompt_row = logit_rows;
  const int32_t last_row = span.first_row + span.rows - 1;
  int32_t row = span.first_row + span.first_prompt_position - choice->computed;
  for (int32_t i = 0; i < span.prompt_rows; ++i) step_->AddLogitRow(row++);
  if (span.sample_row >= 0) {
    if (span.prompt_rows == 0 || row <= last_row) step_->AddLogitRow(last_row);
    span.sample_row = static_cast<int32_t>(step_->logit_rows().size()) - 1;
  }
  choice->composed = composed_;
  tokens_left_ -= span.rows;
  logit_rows_left_ -= static_cast<int32_t>(step_->logit_rows().size()) - logit_rows;
  spans_->push_back(span);
}

void Scheduler::Advance(const ScheduledSpan& span) {
  Choice* choice = span.choice;
  choice->computed += span.rows;
  if (choice->index == 0 && span.prompt_rows > 0) {
    choice->request->prompt_rows_done = span.first_prompt_position + span.prompt_rows;
  }
  Request& request = *choice->request;
  if (!request.prompt_ready && choice->index == 0) {
    request.prompt_ready =
        choice->computed >= request.shared_blocks * limits_.kv_block_tokens &&
        (!request.params.prompt_logprobs || request.prompt_rows_done >= request.prompt_tokens - 1);
  }
  if (!choice->publishes) return;
  const int32_t block_tokens = limits_.kv_block_tokens;
  while ((choice->published + 1) * block_tokens <= choice->computed) {
    const int32_t i = choice->published++;
    choice->serial =
        blocks_.Publish(choice->blocks[static_cast<size_t>(i)], choice->serial,
                        choice->HashOf(i, block_tokens), choice->TokensOfBlock(i, block_tokens));
  }
}

}  // namespace mneme::schedule
