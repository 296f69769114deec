// Decides, from the logits of a step, each choice's next token and whether the choice goes on.
//
// For one thread, the schedule's. Allocates nothing per token.
#ifndef MNEME_ENGINE_SCHEDULE_STEP_SETTLER_H_
#define MNEME_ENGINE_SCHEDULE_STEP_SETTLER_H_

#include <cstdint>

#include "engine/runtime/executor.h"
#include "engine/schedule/sampler.h"
#include "engine/schedule/scheduler.h"

namespace mneme::schedule {

class StepSettler {
 public:
  explicit StepSettler(Sampler sampler);

  // Draws the span's token, if it has a row to draw from, and sets token, emits and ends; of the
  // choice: tokens, counts, pending_text and how it finished. False when a logit is not finite.
  bool Settle(const runtime::StepResult& result, ScheduledSpan* span);

 private:
  void Accept(ScheduledSpan* span, bool is_stop_token);

  Sampler sampler_;
};

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_STEP_SETTLER_H_
