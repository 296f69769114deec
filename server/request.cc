#include "server/request.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace mneme::server {
namespace {

// An absent field of the request takes the default's; one absent there too is left as it is.
#define MNEME_TAKE(field)              \
  if (request.has_##field()) {         \
    out->field = request.field();      \
  } else if (defaults.has_##field()) { \
    out->field = defaults.field();     \
  }

void FillSampling(const v1::SamplingParams& request, const v1::SamplingParams& defaults,
                  SamplingParams* out) {
  MNEME_TAKE(temperature);
  MNEME_TAKE(top_p);
  MNEME_TAKE(top_k);
  MNEME_TAKE(min_p);
  MNEME_TAKE(repetition_penalty);
  MNEME_TAKE(presence_penalty);
  MNEME_TAKE(frequency_penalty);
  MNEME_TAKE(seed);
  out->logit_bias.assign(request.logit_bias().begin(), request.logit_bias().end());
}

#undef MNEME_TAKE

void FillStopping(const v1::StopParams& request, GenerateRequest* out) {
  if (request.has_max_tokens()) out->max_tokens = request.max_tokens();
  if (request.has_min_tokens()) out->min_tokens = request.min_tokens();
  out->stop.assign(request.stop().begin(), request.stop().end());
  out->stop_token_ids.assign(request.stop_token_ids().begin(), request.stop_token_ids().end());
  out->ignore_eos = request.ignore_eos();
  out->include_stop_str_in_output = request.include_stop_str_in_output();
}

}  // namespace

std::string PeekRequestId(google::protobuf::io::ZeroCopyInputStream* message) {
  using google::protobuf::internal::WireFormatLite;
  google::protobuf::io::CodedInputStream in(message);
  std::string id;
  while (const uint32_t tag = in.ReadTag()) {
    const bool is_id =
        WireFormatLite::GetTagFieldNumber(tag) == v1::GenerateRequest::kRequestIdFieldNumber &&
        WireFormatLite::GetTagWireType(tag) == WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
    uint32_t size = 0;
    if (!is_id) {
      if (!WireFormatLite::SkipField(&in, tag)) return "";
    } else if (!in.ReadVarint32(&size) || size > kMaxRequestIdBytes ||
               !in.ReadString(&id, static_cast<int>(size))) {
      return "";
    }
  }
  return id;
}

absl::StatusOr<GenerateRequest> ToEngineRequest(const v1::GenerateRequest& request,
                                                const RequestDefaults& defaults,
                                                const std::string& made_up_id) {
  if (request.request_id().size() > kMaxRequestIdBytes) {
    return absl::InvalidArgumentError(absl::StrCat("request_id: ", request.request_id().size(),
                                                   " bytes, at most ", kMaxRequestIdBytes));
  }
  GenerateRequest out;
  out.id = request.request_id().empty() ? made_up_id : request.request_id();
  FillSampling(request.sampling(), defaults.sampling, &out.sampling);
  FillStopping(request.stopping(), &out);
  out.default_max_tokens = defaults.max_tokens;
  if (request.has_logprobs()) out.logprobs = request.logprobs();
  if (request.has_prompt_logprobs()) out.prompt_logprobs = request.prompt_logprobs();
  if (request.has_n()) out.n = request.n();
  out.echo = request.echo();
  if (request.has_skip_special_tokens()) out.skip_special_tokens = request.skip_special_tokens();
  out.text = !request.token_ids_only();
  return out;
}

absl::Status FillPrompt(const v1::GenerateRequest& request, const loader::Tokenizer* tokenizer,
                        const RequestLimits& limits, GenerateRequest* out) {
  const char* field = "token_ids";
  switch (request.prompt_case()) {
    case v1::GenerateRequest::kText: {
      field = "text";
      if (tokenizer == nullptr) {
        return absl::FailedPreconditionError(
            "text: the model has no tokenizer; send the prompt as token_ids");
      }
      const bool add_special = !request.has_add_special_tokens() || request.add_special_tokens();
      absl::StatusOr<std::vector<int32_t>> ids =
          tokenizer->Encode(request.text(), add_special, limits.max_prompt_tokens);
      if (!ids.ok()) {
        return absl::Status(ids.status().code(), absl::StrCat("text: ", ids.status().message()));
      }
      out->prompt = *std::move(ids);
      break;
    }
    case v1::GenerateRequest::kTokenIds:
      out->prompt.assign(request.token_ids().ids().begin(), request.token_ids().ids().end());
      break;
    case v1::GenerateRequest::PROMPT_NOT_SET:
      return absl::InvalidArgumentError("prompt: neither text nor token_ids is set");
  }
  const int64_t tokens = static_cast<int64_t>(out->prompt.size());
  if (tokens == 0) {
    return absl::InvalidArgumentError(absl::StrCat(field, ": the prompt has no tokens"));
  }
  if (tokens > limits.max_prompt_tokens) {
    return absl::ResourceExhaustedError(absl::StrCat(
        field, ": the prompt has ", tokens, " tokens, the limit is ", limits.max_prompt_tokens));
  }
  return absl::OkStatus();
}

}  // namespace mneme::server
