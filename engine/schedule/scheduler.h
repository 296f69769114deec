// Decides what the next step computes: who runs, with how many tokens, in which KV blocks.
// docs/schedule.md describes the policy. Knows nothing of sampling, text or threads.
//
// A step holds first the next token of every running choice that has only one token left to
// compute, then chunks of prompts, then choices admitted from the queue. Choices are taken in the
// order of their tickets. All blocks for the tokens a choice has are taken when it is admitted;
// each further block when a token needs it. When there is none, choices are preempted: those whose
// reader is slow first, then the youngest; they lose their blocks, keep their tokens, and wait
// again.
//
// For one thread. After the constructor nothing is allocated.
#ifndef MNEME_ENGINE_SCHEDULE_SCHEDULER_H_
#define MNEME_ENGINE_SCHEDULE_SCHEDULER_H_

#include <cstdint>
#include <vector>

#include "engine/engine.h"
#include "engine/runtime/step.h"
#include "engine/schedule/block_manager.h"
#include "engine/schedule/choice_list.h"
#include "engine/schedule/request.h"

namespace mneme::schedule {

// What a step computes for one choice, and what came of it.
struct ScheduledSpan {
  Choice* choice = nullptr;
  int32_t first_row = 0;
  int32_t rows = 0;
  // Index, among the step's logit rows, of the row that the next token is drawn from; -1: none.
  int32_t sample_row = -1;
  // Logit rows [first_prompt_row, + prompt_rows) are those of prompt positions
  // first_prompt_position and following.
  int32_t first_prompt_row = 0;
  int32_t prompt_rows = 0;
  int32_t first_prompt_position = 0;
  int32_t promised = 0;  // events it may cause

  // Filled after the step ran.
  int32_t token = -1;  // drawn
  bool emits = false;  // the token belongs to the output
  bool ends = false;   // the choice finished with this step

  int32_t logit_rows() const {
    const bool shared = sample_row >= 0 && sample_row == first_prompt_row + prompt_rows - 1;
    return prompt_rows + (sample_row >= 0 && !shared ? 1 : 0);
  }
};

class Scheduler {
 public:
  Scheduler(const runtime::StepLimits& limits, const ScheduleOptions& options);

  // Queues a new choice. Its ticket is set.
  void Add(Choice* choice);
  // Ends a choice that waits or runs: its blocks and its slot are free again.
  void Finish(Choice* choice);
  // Takes the choice's blocks out of the prefix cache, also those it has already given back: what
  // they hold is not known any more.
  void Distrust(Choice* choice);
  // What the KV cache holds is lost. REQUIRES: no choice runs.
  void ForgetCache() { blocks_.UnpublishAll(); }

  // Fills `step` (empty) and `spans` (empty, with capacity for max_sequences). Both stay empty when
  // nothing can run.
  void Compose(Clock::time_point now, runtime::Step* step, std::vector<ScheduledSpan>* spans);
  // A composed span was computed.
  void Advance(const ScheduledSpan& span);

  int32_t free_blocks() const { return blocks_.free_blocks(); }
  int32_t running_requests() const { return running_requests_; }
  int64_t preemptions() const { return preemptions_; }
  int64_t cached_tokens() const { return cached_tokens_; }

 private:
  int32_t BlocksFor(int32_t tokens) const {
    return (tokens + limits_.kv_block_tokens - 1) / limits_.kv_block_tokens;
  }
  void ScheduleDecodes();
  void SchedulePrefills();
  void AdmitWaiting();
  bool Eligible(const Choice& choice) const;
  bool Admit(Choice* choice);
  // Fills choice->blocks with what the prefix cache or a sibling has; the number of blocks found in
  // the cache.
  int32_t ReuseBlocks(Choice* choice);
  int32_t FindCached(Choice* choice, int32_t most);
  void ShareWithSibling(Choice* choice);
  void ReleaseBlocks(Choice* choice);
  // Gives the choice blocks for its first `tokens` tokens, preempting others if it must; false when
  // that took the choice itself.
  bool EnsureBlocks(Choice* choice, int32_t tokens);
  bool PreemptFor(Choice* choice);
  // Preempts the youngest choice whose reader is slow, if there is one: for a choice that waits.
  bool PreemptPaused();
  void Preempt(Choice* choice);
  void Stop(Choice* choice, ChoiceState state);
  // Schedules at most `most` rows of the choice; the number of rows.
  int32_t Schedule(Choice* choice, int32_t most);
  // Of the span's rows, those whose logits the request wants; shortens the span to what fits.
  void AddPromptRows(Choice* choice, int32_t room, ScheduledSpan* span);
  bool InStep(const Choice& choice) const { return choice.composed == composed_; }
  void AddToStep(Choice* choice, ScheduledSpan span);

  const runtime::StepLimits limits_;
  const bool prefix_cache_;
  const int32_t prefill_chunk_;
  const int32_t most_running_;
  BlockManager blocks_;
  ChoiceList waiting_;
  ChoiceList running_;
  std::vector<int32_t> free_slots_;
  int32_t running_requests_ = 0;
  int64_t preemptions_ = 0;
  int64_t cached_tokens_ = 0;

  // The step being composed.
  uint64_t composed_ = 0;  // its number, from 1
  Clock::time_point now_{};
  runtime::Step* step_ = nullptr;
  std::vector<ScheduledSpan>* spans_ = nullptr;
  int32_t tokens_left_ = 0;
  int32_t prefill_left_ = 0;
  int32_t logit_rows_left_ = 0;
};

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_SCHEDULER_H_
