#include "engine/schedule/event_writer.h"

#include <utility>

namespace mneme::schedule {

EventWriter::EventWriter(Logprobs logprobs) : logprobs_(std::move(logprobs)) {
  unsent_.reserve(1024);
}

bool EventWriter::WriteSpan(const ScheduledSpan& span, const runtime::StepResult& result) {
  Request& request = *span.choice->request;
  request.promised -= span.promised;
  bool finite = true;
  if (request.params.prompt_logprobs) {
    for (int32_t i = 0; i < span.prompt_rows && finite; ++i) {
      const int32_t position = span.first_prompt_position + i;
      // The prompt's last position says nothing about a token of the prompt.
      if (position + 1 >= request.prompt_tokens) break;
      EventSlot& slot = request.ring.Begin();
      slot.event.kind = OutputEvent::Kind::kPromptLogprob;
      slot.event.token_id = request.params.prompt[static_cast<size_t>(position) + 1];
      slot.event.has_logprob = true;
      finite = logprobs_.Compute(result.logits.row(span.first_prompt_row + i), slot.event.token_id,
                                 *request.params.prompt_logprobs, &slot.event.logprob, &slot.top);
      if (finite) request.ring.Commit();
    }
  }
  if (finite && span.emits) WriteToken(span, result, &finite);
  return finite;
}

void EventWriter::WriteToken(const ScheduledSpan& span, const runtime::StepResult& result,
                             bool* finite) {
  Choice* choice = span.choice;
  const GenerateRequest& params = choice->request->params;
  EventSlot& slot = choice->request->ring.Begin();
  slot.event.kind = OutputEvent::Kind::kToken;
  slot.event.choice = choice->index;
  slot.event.token_id = span.token;
  if (params.logprobs) {
    slot.event.has_logprob = true;
    *finite = logprobs_.Compute(result.logits.row(span.sample_row), span.token, *params.logprobs,
                                &slot.event.logprob, &slot.top);
    if (!*finite) return;
  }
  if (choice->text.searches()) {
    // Decoded before, to decide whether the choice goes on.
    if (params.text) slot.text.append(choice->pending_text);
    choice->pending_text.clear();
  } else {
    choice->text.Append(span.token, false, &slot.text);
  }
  choice->request->ring.Commit();
}

void EventWriter::WriteEnd(Choice* choice) {
  if (choice->finish_written) return;
  if (choice->EchoPending() && choice->finish == FinishReason::kLength) {
    choice->finish_wanted = true;
    StartEcho(choice);
    return;
  }
  WriteEndNow(choice);
}

void EventWriter::WriteEndNow(Choice* choice) {
  Request& request = *choice->request;
  EventSlot& slot = request.ring.Begin();
  slot.event.kind = OutputEvent::Kind::kFinish;
  slot.event.choice = choice->index;
  slot.event.finish = choice->finish;
  slot.event.stop_token_id = choice->stop_token_id;
  if (choice->stop_string >= 0) {
    slot.event.stop_string = request.params.stop[static_cast<size_t>(choice->stop_string)];
  } else {
    // After a stop string nothing is left to say: what the decoder holds comes after it.
    unsent_.clear();
    choice->text.Flush(request.params.text ? &slot.text : &unsent_);
  }
  request.ring.Commit();
  choice->finish_written = true;
  --request.unfinished;
}

void EventWriter::StartEcho(Choice* choice) {
  if (choice->echoing) return;
  choice->echoing = true;
  // At the end, so that choices echo in their order.
  *echoing_end_ = choice;
  echoing_end_ = &choice->next_echo;
}

bool EventWriter::PumpChoice(Choice* choice, Clock::time_point now) {
  Request& request = *choice->request;
  bool wrote = false;
  while (choice->EchoPending() && !request.paused.load(std::memory_order_relaxed)) {
    if (request.Room() <= 0) {
      request.Pause(now);
      continue;
    }
    EventSlot& slot = request.ring.Begin();
    slot.event.kind = OutputEvent::Kind::kToken;
    slot.event.prompt = true;
    slot.event.choice = choice->index;
    slot.event.token_id = request.params.prompt[static_cast<size_t>(choice->echoed)];
    // A prompt's text is sent when the request asks for text, searched or not.
    unsent_.clear();
    choice->text.Echo(slot.event.token_id, request.params.text ? &slot.text : &unsent_);
    request.ring.Commit();
    ++choice->echoed;
    wrote = true;
  }
  return wrote;
}

}  // namespace mneme::schedule
