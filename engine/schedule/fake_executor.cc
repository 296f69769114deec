#include "engine/schedule/fake_executor.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <thread>
#include <utility>

namespace mneme::schedule {
namespace {

using kernels::TrafficClass;

uint64_t Mix(uint64_t h) {
  h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9u;
  h = (h ^ (h >> 27)) * 0x94D049BB133111EBu;
  return h ^ (h >> 31);
}

uint64_t HashTokens(std::span<const int32_t> tokens) {
  uint64_t h = 0;
  for (int32_t token : tokens) h = Mix(h * 31 + static_cast<uint64_t>(token) + 1);
  return h;
}

float LogitOf(uint64_t hash, int32_t id) {
  const uint64_t h = Mix(hash + 0x9E3779B97F4A7C15u * static_cast<uint64_t>(id + 1));
  return static_cast<float>(h >> 40) * 0x1.0p-24f * 8.0f - 4.0f;
}

// A broken rule of the executor's contract is a bug that no test should outlive.
void Check(bool holds, const char* rule) {
  if (holds) return;
  std::fprintf(stderr, "FakeExecutor: %s\n", rule);
  std::abort();
}

}  // namespace

loader::ModelDescription Describe(const FakeModel& model) {
  loader::ModelDescription description;
  description.architecture = "dense";
  description.vocab_size = model.vocab_size;
  description.embedding_size = model.embedding_size;
  description.max_sequence_length = model.max_sequence_length;
  description.eos_token_ids = model.eos_token_ids;
  return description;
}

float FakeLogit(std::span<const int32_t> tokens, int32_t id) {
  return LogitOf(HashTokens(tokens), id);
}

FakeExecutor::FakeExecutor(const FakeModel& model, const runtime::StepLimits& limits)
    : model_(model),
      limits_(limits),
      cells_(static_cast<size_t>(limits.kv_blocks) * static_cast<size_t>(limits.kv_block_tokens)),
      tables_(static_cast<size_t>(limits.max_sequences) *
                  static_cast<size_t>(limits.max_blocks_per_sequence()),
              -1),
      slots_{Slot(limits), Slot(limits)} {
  sequence_.reserve(static_cast<size_t>(limits.max_positions));
  for (Slot& slot : slots_) {
    slot.logits.resize(static_cast<size_t>(limits.max_logit_rows) *
                       static_cast<size_t>(model.embedding_size));
    slot.value_row_bytes.resize(static_cast<size_t>(limits.max_tokens));
    slot.kv_bytes.resize(static_cast<size_t>(limits.max_tokens));
  }
}

runtime::Step* FakeExecutor::NextStep() {
  Check(submitted_ - released_ < 2, "more than two steps under way");
  runtime::Step* step = &slots_[submitted_ % 2].step;
  step->Clear();
  step->number = submitted_ + 1;
  return step;
}

void FakeExecutor::Submit() {
  Slot& slot = slots_[submitted_++ % 2];
  slot.ready = std::chrono::steady_clock::now() + step_time;
  Run(&slot);
}

const runtime::StepResult& FakeExecutor::Wait() {
  Check(submitted_ > released_, "waits for a step that was not submitted");
  Slot& slot = slots_[released_ % 2];
  if (step_time.count() > 0) std::this_thread::sleep_until(slot.ready);
  return slot.result;
}

void FakeExecutor::Release() { ++released_; }

const runtime::Step& FakeExecutor::finished_step() const { return slots_[released_ % 2].step; }

void FakeExecutor::Lose(const std::string& why) {
  {
    const std::lock_guard lock(state_mutex_);
    state_.ready = false;
    why_ = why;
  }
  const std::lock_guard lock(listener_mutex_);
  if (listener_) listener_();
}

void FakeExecutor::Recover() {
  {
    const std::lock_guard lock(state_mutex_);
    state_ = {.ready = true, .generation = state_.generation + 1};
    forget_ = true;
  }
  const std::lock_guard lock(listener_mutex_);
  if (listener_) listener_();
}

runtime::ExecutorState FakeExecutor::state() const {
  const std::lock_guard lock(state_mutex_);
  return state_;
}

absl::Status FakeExecutor::failure() const {
  const std::lock_guard lock(state_mutex_);
  return absl::UnavailableError(why_);
}

void FakeExecutor::SetStateListener(std::function<void()> listener) {
  const std::lock_guard lock(listener_mutex_);
  listener_ = std::move(listener);
}

FakeExecutor::Cell& FakeExecutor::CellAt(int32_t sequence, int32_t position) {
  const int32_t index = position / limits_.kv_block_tokens;
  const int32_t block = tables_[static_cast<size_t>(sequence) *
                                    static_cast<size_t>(limits_.max_blocks_per_sequence()) +
                                static_cast<size_t>(index)];
  Check(block >= 0 && block < limits_.kv_blocks, "a position without a block");
  return cells_[static_cast<size_t>(block) * static_cast<size_t>(limits_.kv_block_tokens) +
                static_cast<size_t>(position % limits_.kv_block_tokens)];
}

void FakeExecutor::Run(Slot* slot) {
  const runtime::Step& step = slot->step;
  Check(step.tokens() > 0 && step.tokens() <= limits_.max_tokens, "tokens of a step");
  Check(static_cast<int32_t>(step.spans().size()) <= limits_.max_sequences, "spans of a step");
  Check(static_cast<int32_t>(step.logit_rows().size()) <= limits_.max_logit_rows, "logit rows");
  Check(static_cast<int32_t>(step.block_changes().size()) <= limits_.max_block_changes(),
        "block changes");
  for (const runtime::BlockChange& change : step.block_changes()) {
    tables_[static_cast<size_t>(change.sequence) *
                static_cast<size_t>(limits_.max_blocks_per_sequence()) +
            static_cast<size_t>(change.index)] = change.block;
  }
  {
    const std::lock_guard lock(state_mutex_);
    if (std::exchange(forget_, false)) std::fill(cells_.begin(), cells_.end(), Cell{});
    const bool outdated =
        step.generation != runtime::Step::kAnyGeneration && step.generation != state_.generation;
    if (!state_.ready || outdated) {
      slot->result.status = absl::UnavailableError(why_);
      return;
    }
  }
  slot->result.status = on_step ? on_step(step) : absl::OkStatus();
  steps_.fetch_add(1);
  if (step.tokens() > most_rows_.load()) most_rows_.store(step.tokens());
  if (!slot->result.status.ok()) {
    // What a failed step leaves behind is undefined; here it is garbage.
    for (const runtime::StepSpan& span : step.spans()) {
      for (int32_t r = 0; r < span.rows; ++r) CellAt(span.sequence, span.first_position + r) = {};
    }
    return;
  }
  Compute(slot);
  CountTraffic(slot);
}

void FakeExecutor::Compute(Slot* slot) {
  const runtime::Step& step = slot->step;
  const std::span<const int32_t> logit_rows = step.logit_rows();
  Check(std::ranges::is_sorted(logit_rows), "logit rows ascend");
  for (const runtime::StepSpan& span : step.spans()) {
    for (int32_t r = 0; r < span.rows; ++r) {
      const int32_t position = span.first_position + r;
      CellAt(span.sequence, position) =
          Cell{step.token_ids()[static_cast<size_t>(span.first_row + r)], position};
    }
  }
  size_t next = 0;
  const size_t width = static_cast<size_t>(model_.embedding_size);
  for (const runtime::StepSpan& span : step.spans()) {
    for (; next < logit_rows.size() && logit_rows[next] < span.first_row + span.rows; ++next) {
      const int32_t last = span.first_position + logit_rows[next] - span.first_row;
      sequence_.clear();
      bool poisoned = false;
      for (int32_t p = 0; p <= last; ++p) {
        const Cell& cell = CellAt(span.sequence, p);
        // A wrong position stands for a key that was never written: it must change the outcome.
        sequence_.push_back(cell.position == p ? cell.token : cell.token + 7919);
        poisoned |= poison_token >= 0 && cell.token == poison_token;
      }
      const uint64_t hash = HashTokens(sequence_);
      float* row = slot->logits.data() + next * width;
      for (int32_t id = 0; id < model_.embedding_size; ++id) row[id] = LogitOf(hash, id);
      if (poisoned) row[0] = std::numeric_limits<float>::quiet_NaN();
    }
  }
  Check(next == logit_rows.size(), "a logit row outside of the spans");
  slot->result.logits = kernels::MakeMatrix<const float>(
      slot->logits.data(), static_cast<int64_t>(logit_rows.size()), model_.embedding_size);
}

// Made-up numbers of the right structure; whole, so that sums are exact.
void FakeExecutor::CountTraffic(Slot* slot) {
  const runtime::Step& step = slot->step;
  runtime::StepResult& result = slot->result;
  result.traffic = {};
  result.logit_traffic = {};
  result.logit_traffic.Read(TrafficClass::kDenseWeights, step.logit_rows().empty() ? 0 : 4096);
  result.logit_traffic.Write(TrafficClass::kActivations, 256 * step.logit_rows().size());
  result.traffic += result.logit_traffic;
  result.traffic.Read(TrafficClass::kDenseWeights, 10000);
  result.traffic.Write(TrafficClass::kActivations, 512 * static_cast<uint64_t>(step.tokens()));
  result.traffic.Write(TrafficClass::kKv, 64 * static_cast<uint64_t>(step.tokens()));
  for (int32_t row = 0; row < step.tokens(); ++row) {
    const size_t i = static_cast<size_t>(row);
    slot->value_row_bytes[i] = 128 + step.token_ids()[i];
    slot->kv_bytes[i] = 64 * (step.positions()[i] + 1);
    result.traffic.Read(TrafficClass::kValueRows, static_cast<uint64_t>(slot->value_row_bytes[i]));
    result.traffic.Read(TrafficClass::kKv, static_cast<uint64_t>(slot->kv_bytes[i]));
  }
  result.token_value_row_bytes = {slot->value_row_bytes.data(), static_cast<size_t>(step.tokens())};
  result.token_kv_bytes = {slot->kv_bytes.data(), static_cast<size_t>(step.tokens())};
  result.step_seconds = 1e-3;
  result.runtime_seconds = 1e-5;
  traffic_ += result.traffic;
}

}  // namespace mneme::schedule
