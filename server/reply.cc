#include "server/reply.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace mneme::server {
namespace {

// Events in one reply. With 20 alternatives of 30 bytes each a reply of so many is 160 KB.
constexpr int kMaxEventsPerReply = 256;

void AddClass(const char* name, double read, double written, v1::Traffic* out) {
  if (read == 0 && written == 0) return;
  v1::Traffic::Class* c = out->add_classes();
  c->set_name(name);
  c->set_read_bytes(read);
  c->set_written_bytes(written);
}

}  // namespace

ReplyWriter::ReplyWriter(std::string request_id, const loader::Tokenizer* tokenizer,
                         bool with_logprobs)
    : request_id_(std::move(request_id)), tokenizer_(tokenizer), with_logprobs_(with_logprobs) {
  delta_of_choice_.fill(-1);
}

bool ReplyWriter::Fill(Generation* generation, v1::GenerateReply* reply) {
  for (const v1::ChoiceDelta& delta : reply->choices()) {
    delta_of_choice_[static_cast<size_t>(delta.index())] = -1;
  }
  reply->Clear();
  OutputEvent event;
  int events = 0;
  while (events < kMaxEventsPerReply && generation->Pop(&event)) {
    ++events;
    switch (event.kind) {
      case OutputEvent::Kind::kToken:
        AddToken(event, reply);
        break;
      case OutputEvent::Kind::kPromptLogprob:
        FillLogprobs(event, reply->add_prompt_logprobs());
        break;
      case OutputEvent::Kind::kFinish:
        AddFinish(event, reply);
        break;
    }
  }
  if (events > 0) reply->set_request_id(request_id_);
  return events > 0;
}

v1::ChoiceDelta* ReplyWriter::DeltaOf(int32_t choice, v1::GenerateReply* reply) {
  int16_t& place = delta_of_choice_[static_cast<size_t>(choice)];
  if (place >= 0) return reply->mutable_choices(place);
  place = static_cast<int16_t>(reply->choices_size());
  v1::ChoiceDelta* delta = reply->add_choices();
  delta->set_index(choice);
  return delta;
}

void ReplyWriter::AddToken(const OutputEvent& event, v1::GenerateReply* reply) {
  v1::ChoiceDelta* delta = DeltaOf(event.choice, reply);
  delta->add_token_ids(event.token_id);
  delta->mutable_text()->append(event.text);
  if (with_logprobs_) FillLogprobs(event, delta->add_logprobs());
}

void ReplyWriter::AddFinish(const OutputEvent& event, v1::GenerateReply* reply) {
  v1::ChoiceDelta* delta = DeltaOf(event.choice, reply);
  delta->mutable_text()->append(event.text);
  delta->set_finish_reason(ToProto(event.finish));
  finishes_[static_cast<size_t>(event.finish)] = true;
  if (!event.stop_string.empty()) {
    delta->set_stop_string(event.stop_string.data(), event.stop_string.size());
  } else if (event.stop_token_id >= 0) {
    delta->set_stop_token_id(event.stop_token_id);
  }
}

void ReplyWriter::FillLogprobs(const OutputEvent& event, v1::PositionLogprobs* out) const {
  FillTokenLogprob(event.token_id, event.logprob, out->mutable_token());
  if (!event.has_logprob) out->mutable_token()->clear_logprob();
  for (const TokenLogprob& top : event.top) {
    FillTokenLogprob(top.token_id, top.logprob, out->add_top());
  }
}

void ReplyWriter::FillTokenLogprob(int32_t token_id, float logprob, v1::TokenLogprob* out) const {
  out->set_token_id(token_id);
  out->set_logprob(logprob);
  if (tokenizer_ != nullptr) {
    out->set_text(tokenizer_->Decode(std::span<const int32_t>(&token_id, 1),
                                     /*skip_special=*/false));
  }
}

std::string ReplyWriter::FinishSummary() const {
  std::string out;
  for (size_t i = 1; i < finishes_.size(); ++i) {
    if (!finishes_[i]) continue;
    absl::StrAppend(&out, out.empty() ? "" : "|", FinishReasonName(static_cast<FinishReason>(i)));
  }
  return out.empty() ? "-" : out;
}

v1::FinishReason ToProto(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      return v1::FINISH_REASON_UNSPECIFIED;
    case FinishReason::kStop:
      return v1::STOP;
    case FinishReason::kLength:
      return v1::LENGTH;
    case FinishReason::kCancelled:
      return v1::CANCELLED;
    case FinishReason::kError:
      return v1::ERROR;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

const char* FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      return "-";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kError:
      return "error";
  }
  return "-";
}

void ToProto(const RequestUsage& usage, v1::Usage* out) {
  out->set_prompt_tokens(usage.prompt_tokens);
  out->set_cached_tokens(usage.cached_tokens);
  out->set_output_tokens(usage.output_tokens);
  out->set_queue_seconds(usage.queue_seconds);
  out->set_prefill_seconds(usage.prefill_seconds);
  out->set_decode_seconds(usage.decode_seconds);
  out->set_seed(usage.seed);
  out->set_preemptions(usage.preemptions);
  for (int i = 0; i < kernels::kTrafficClasses; ++i) {
    AddClass(kernels::TrafficClassName(static_cast<kernels::TrafficClass>(i)), usage.read_bytes[i],
             usage.written_bytes[i], out->mutable_traffic());
  }
}

void ToProto(const kernels::Traffic& traffic, v1::Traffic* out) {
  for (int i = 0; i < kernels::kTrafficClasses; ++i) {
    AddClass(kernels::TrafficClassName(static_cast<kernels::TrafficClass>(i)),
             static_cast<double>(traffic.read_bytes[i]),
             static_cast<double>(traffic.written_bytes[i]), out);
  }
}

void ToProto(const EngineStats& stats, v1::GetStatsReply* out) {
  out->set_requests_total(stats.requests_total);
  out->set_requests_running(stats.requests_running);
  out->set_requests_waiting(stats.requests_waiting);
  out->set_steps_total(stats.steps_total);
  out->set_prompt_tokens_total(stats.prompt_tokens_total);
  out->set_cached_tokens_total(stats.cached_tokens_total);
  out->set_output_tokens_total(stats.output_tokens_total);
  out->set_preemptions_total(stats.preemptions_total);
  out->set_kv_blocks_total(stats.kv_blocks_total);
  out->set_kv_blocks_free(stats.kv_blocks_free);
  out->set_kv_block_tokens(stats.kv_block_tokens);
  ToProto(stats.traffic_total, out->mutable_traffic_total());
  out->set_step_seconds_total(stats.step_seconds_total);
  out->set_runtime_seconds_total(stats.runtime_seconds_total);
}

}  // namespace mneme::server
