#include "clients/cli/generate_report.h"

#include <algorithm>
#include <cmath>

namespace mneme::cli {
namespace {

using Json = nlohmann::ordered_json;

double Seconds(StreamClock::Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

Json LogprobJson(const v1::TokenLogprob& token) {
  const Json logprob = token.has_logprob() ? Json(token.logprob()) : Json();
  return {{"token_id", token.token_id()}, {"logprob", logprob}, {"text", token.text()}};
}

Json LogprobsJson(const std::vector<v1::PositionLogprobs>& positions) {
  Json out = Json::array();
  for (const v1::PositionLogprobs& position : positions) {
    Json entry = LogprobJson(position.token());
    entry["top"] = Json::array();
    for (const v1::TokenLogprob& top : position.top()) entry["top"].push_back(LogprobJson(top));
    out.push_back(std::move(entry));
  }
  return out;
}

Json ChoiceJson(const client::GenerateResult::Choice& choice) {
  Json out = {{"text", choice.text},
              {"token_ids", choice.token_ids},
              {"finish_reason", FinishReasonName(choice.finish_reason)}};
  if (choice.stop_string.has_value()) out["stop_string"] = *choice.stop_string;
  if (choice.stop_token_id.has_value()) out["stop_token_id"] = *choice.stop_token_id;
  if (!choice.logprobs.empty()) out["logprobs"] = LogprobsJson(choice.logprobs);
  return out;
}

}  // namespace

void StreamClock::OnTokens(int tokens) {
  token_times_.insert(token_times_.end(), static_cast<size_t>(std::max(tokens, 0)), Clock::now());
}

double StreamClock::time_to_first_token() const {
  return token_times_.empty() ? 0 : Seconds(token_times_.front() - start_);
}

double StreamClock::total() const { return Seconds(stop_ - start_); }

double StreamClock::tokens_per_second() const {
  if (token_times_.size() < 2) return 0;
  const double seconds = Seconds(token_times_.back() - token_times_.front());
  return seconds > 0 ? static_cast<double>(token_times_.size() - 1) / seconds : 0;
}

std::vector<double> StreamClock::inter_token_seconds() const {
  std::vector<double> gaps;
  size_t i = 0;
  Clock::time_point previous = token_times_.empty() ? start_ : token_times_.front();
  while (i < token_times_.size()) {
    size_t end = i;
    while (end < token_times_.size() && token_times_[end] == token_times_[i]) ++end;
    // The first reply's first token has no gap before it.
    const size_t count = end - i - (i == 0 ? 1 : 0);
    const double gap = Seconds(token_times_[i] - previous) / static_cast<double>(end - i);
    gaps.insert(gaps.end(), count, gap);
    previous = token_times_[i];
    i = end;
  }
  return gaps;
}

std::string FinishReasonName(v1::FinishReason reason) {
  switch (reason) {
    case v1::STOP:
      return "stop";
    case v1::LENGTH:
      return "length";
    case v1::CANCELLED:
      return "cancelled";
    case v1::ERROR:
      return "error";
    default:
      return "";
  }
}

// As the server counted: replies that carried several tokens hide when each was there.
double DecodeRate(const client::GenerateResult& result) {
  const v1::Usage& usage = result.usage;
  const double tokens = usage.output_tokens() - static_cast<double>(result.choices.size());
  return tokens > 0 && usage.decode_seconds() > 0 ? tokens / usage.decode_seconds() : 0;
}

Json ToJson(const client::GenerateResult& result, const StreamClock& clock) {
  static const client::GenerateResult::Choice kNothing;
  Json out = ChoiceJson(result.choices.empty() ? kNothing : result.choices[0]);
  out["request_id"] = result.request_id;
  if (result.choices.size() > 1) {
    out["choices"] = Json::array();
    for (const auto& choice : result.choices) out["choices"].push_back(ChoiceJson(choice));
  }
  if (!result.prompt_logprobs.empty())
    out["prompt_logprobs"] = LogprobsJson(result.prompt_logprobs);
  out["timing"] = {{"time_to_first_token_seconds", clock.time_to_first_token()},
                   {"total_seconds", clock.total()},
                   {"tokens_per_second", DecodeRate(result)}};
  const v1::Usage& usage = result.usage;
  // Where a request was cut off no usage came.
  if (usage.prompt_tokens() == 0) return out;
  out["timing"]["queue_seconds"] = usage.queue_seconds();
  out["timing"]["prefill_seconds"] = usage.prefill_seconds();
  out["timing"]["decode_seconds"] = usage.decode_seconds();
  out["usage"] = {{"prompt_tokens", usage.prompt_tokens()},
                  {"cached_tokens", usage.cached_tokens()},
                  {"output_tokens", usage.output_tokens()},
                  {"seed", usage.seed()},
                  {"preemptions", usage.preemptions()}};
  out["traffic"] = Json::object();
  for (const v1::Traffic::Class& c : usage.traffic().classes()) {
    out["traffic"][c.name()] = {{"read_bytes", c.read_bytes()},
                                {"written_bytes", c.written_bytes()}};
  }
  return out;
}

double Quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double place = q * static_cast<double>(values.size() - 1);
  const size_t below = static_cast<size_t>(std::floor(place));
  const size_t above = std::min(below + 1, values.size() - 1);
  const double part = place - std::floor(place);
  return values[below] * (1 - part) + values[above] * part;
}

}  // namespace mneme::cli
