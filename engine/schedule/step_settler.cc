#include "engine/schedule/step_settler.h"

#include <algorithm>
#include <utility>

namespace mneme::schedule {
namespace {

int32_t OutputTokens(const Choice& choice) {
  return static_cast<int32_t>(choice.tokens.size()) - choice.request->prompt_tokens;
}

void End(ScheduledSpan* span, FinishReason reason) {
  span->choice->finish = reason;
  span->ends = true;
}

}  // namespace

StepSettler::StepSettler(Sampler sampler) : sampler_(std::move(sampler)) {}

bool StepSettler::Settle(const runtime::StepResult& result, ScheduledSpan* span) {
  Choice* choice = span->choice;
  const Request& request = *choice->request;
  if (span->sample_row < 0) {
    // max_tokens: 0 asks for the prompt's evaluation only.
    if (request.max_tokens == 0 && choice->computed == request.prompt_tokens) {
      End(span, FinishReason::kLength);
    }
    return true;
  }
  Draw draw;
  draw.params = &request.params.sampling;
  if (OutputTokens(*choice) < request.params.min_tokens) draw.suppressed = request.suppressed_ids;
  draw.counts = choice->counts ? &*choice->counts : nullptr;
  draw.seed = request.seed;
  draw.choice = choice->index;
  draw.position = static_cast<int32_t>(choice->tokens.size());
  span->token = sampler_.Sample(result.logits.row(span->sample_row), draw);
  if (span->token == Sampler::kNotFinite) return false;

  const bool is_stop_token =
      std::ranges::find(request.stop_ids, span->token) != request.stop_ids.end();
  if (is_stop_token) {
    End(span, FinishReason::kStop);
    choice->stop_token_id = span->token;
  }
  if (!is_stop_token || request.params.include_stop_str_in_output) Accept(span, is_stop_token);
  return true;
}

void StepSettler::Accept(ScheduledSpan* span, bool is_stop_token) {
  Choice* choice = span->choice;
  Request& request = *choice->request;
  span->emits = true;
  choice->tokens.push_back(span->token);
  ++request.usage.output_tokens;
  if (choice->counts) choice->counts->AddOutput(span->token);
  if (choice->text.searches()) {
    const bool search = !is_stop_token && OutputTokens(*choice) > request.params.min_tokens;
    choice->stop_string = choice->text.Append(span->token, search, &choice->pending_text);
    if (choice->stop_string >= 0) End(span, FinishReason::kStop);
  }
  if (!span->ends && OutputTokens(*choice) == request.max_tokens) {
    End(span, FinishReason::kLength);
  }
}

}  // namespace mneme::schedule
