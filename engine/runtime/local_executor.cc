#include "engine/runtime/local_executor.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace mneme::runtime {
namespace {

// How long each side looks before it sleeps. A decode step of a small model takes a few hundred
// microseconds and the schedule's part of it a few tens, so the rank rarely sleeps between steps,
// and the schedule sleeps while a step runs.
constexpr std::chrono::microseconds kSpin{50};

}  // namespace

LocalExecutor::LocalExecutor(std::unique_ptr<Rank> rank)
    : rank_(std::move(rank)),
      steps_{Step(rank_->limits()), Step(rank_->limits())},
      submitted_(2, kSpin),
      finished_(2, kSpin),
      thread_([this] { Loop(); }) {
  pthread_setname_np(thread_.native_handle(), "mneme-rank-0");
}

LocalExecutor::~LocalExecutor() {
  submitted_.Close();
  thread_.join();
}

Step* LocalExecutor::NextStep() {
  Step* step = &steps_[submitted_.WaitCredit() % 2];
  step->Clear();
  step->number = next_step_number_;
  return step;
}

void LocalExecutor::Submit() {
  submitted_at_[(next_step_number_ - 1) % 2] = Clock::now();
  ++next_step_number_;
  submitted_.Publish();
}

const StepResult& LocalExecutor::Wait() {
  finished_.WaitWritten(&finished_slot_, ExpectedEnd());
  const StepResult& result = results_[finished_slot_ % 2];
  const int32_t tokens = finished_step().tokens();
  // The shortest lately: steps grow slowly with their context, and what delays one is chance.
  const bool same = tokens == estimated_tokens_;
  estimated_seconds_ =
      same ? std::min(result.step_seconds, 1.02 * estimated_seconds_) : result.step_seconds;
  estimated_tokens_ = tokens;
  return result;
}

LocalExecutor::Clock::time_point LocalExecutor::ExpectedEnd() const {
  const uint32_t oldest = finished_slot_ + 1;
  if (steps_[oldest % 2].tokens() != estimated_tokens_) return {};
  return submitted_at_[oldest % 2] + std::chrono::duration_cast<Clock::duration>(
                                         std::chrono::duration<double>(estimated_seconds_));
}

void LocalExecutor::Release() { finished_.Release(); }

const Step& LocalExecutor::finished_step() const { return steps_[finished_slot_ % 2]; }

void LocalExecutor::Loop() {
  uint32_t number = 0;
  while (submitted_.WaitWritten(&number)) {
    // The result's slot is free: the schedule has at most two steps submitted and not released.
    finished_.WaitCredit();
    rank_->Run(steps_[number % 2], static_cast<int32_t>(number % 2), &results_[number % 2]);
    submitted_.Release();
    finished_.Publish();
  }
}

}  // namespace mneme::runtime
