// Turns what happened to choices into events in their requests' rings: tokens with text and
// log-probabilities, prompt log-probabilities, echoed prompts, ends. Writes only where the schedule
// promised room.
//
// For one thread, the schedule's. Allocates nothing (see EventRing for long texts).
#ifndef MNEME_ENGINE_SCHEDULE_EVENT_WRITER_H_
#define MNEME_ENGINE_SCHEDULE_EVENT_WRITER_H_

#include <cstdint>
#include <string>

#include "engine/runtime/executor.h"
#include "engine/schedule/logprobs.h"
#include "engine/schedule/request.h"
#include "engine/schedule/scheduler.h"

namespace mneme::schedule {

class EventWriter {
 public:
  explicit EventWriter(Logprobs logprobs);
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;

  // The prompt log-probabilities and the token of a span that ran, not its end. False, with a part
  // unwritten, when a logit is not finite. Settles what the span promised.
  bool WriteSpan(const ScheduledSpan& span, const runtime::StepResult& result);
  // The choice's end, with the last of its text: now, or when its prompt has been echoed.
  // REQUIRES: the choice is finished.
  void WriteEnd(Choice* choice);

  // From now on Pump() writes the choice's prompt. REQUIRES: params.echo.
  void StartEcho(Choice* choice);
  // Writes as much of the echoed prompts as there is room for. Calls on_events(request) for each
  // request that got events.
  template <class OnEvents>
  void Pump(Clock::time_point now, OnEvents on_events);

 private:
  void WriteToken(const ScheduledSpan& span, const runtime::StepResult& result, bool* finite);
  // Whether anything was written.
  bool PumpChoice(Choice* choice, Clock::time_point now);
  void WriteEndNow(Choice* choice);

  Logprobs logprobs_;
  Choice* echoing_ = nullptr;  // list through next_echo
  // Where the next one is hung: the last one's next_echo, or echoing_.
  Choice** echoing_end_ = &echoing_;
  std::string unsent_;  // text that nobody asked for
};

template <class OnEvents>
void EventWriter::Pump(Clock::time_point now, OnEvents on_events) {
  Choice** link = &echoing_;
  while (*link != nullptr) {
    Choice* choice = *link;
    if (!choice->finish_written && PumpChoice(choice, now)) on_events(choice->request);
    if (choice->finish_written || !choice->EchoPending()) {
      *link = choice->next_echo;
      if (echoing_end_ == &choice->next_echo) echoing_end_ = link;
      choice->next_echo = nullptr;
      choice->echoing = false;
      if (choice->finish_wanted && !choice->finish_written) {
        WriteEndNow(choice);
        on_events(choice->request);
      }
    } else {
      link = &choice->next_echo;
    }
  }
}

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_EVENT_WRITER_H_
