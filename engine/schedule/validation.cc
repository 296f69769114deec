#include "engine/schedule/validation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mneme::schedule {
namespace {

template <class... Parts>
absl::Status Invalid(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

absl::Status CheckRange(const char* field, float value, float lowest, float highest) {
  // Written so that NaN fails.
  if (value >= lowest && value <= highest) return absl::OkStatus();
  return Invalid(field, ": ", value, " is not in [", lowest, ", ", highest, "]");
}

absl::Status CheckTokenId(const char* field, int32_t id, int32_t vocab_size) {
  if (id >= 0 && id < vocab_size) return absl::OkStatus();
  return Invalid(field, ": id ", id, " is not in [0, ", vocab_size, ")");
}

absl::Status CheckSampling(const SamplingParams& sampling, int32_t vocab_size) {
  if (!(sampling.temperature >= 0 && std::isfinite(sampling.temperature))) {
    return Invalid("temperature: ", sampling.temperature, " is not a number of at least 0");
  }
  if (!(sampling.top_p > 0 && sampling.top_p <= 1)) {
    return Invalid("top_p: ", sampling.top_p, " is not in (0, 1]");
  }
  if (sampling.top_k < -1) {
    return Invalid("top_k: ", sampling.top_k, " is neither positive nor 0 or -1 for all");
  }
  if (absl::Status s = CheckRange("min_p", sampling.min_p, 0, 1); !s.ok()) return s;
  if (!(sampling.repetition_penalty > 0 && std::isfinite(sampling.repetition_penalty))) {
    return Invalid("repetition_penalty: ", sampling.repetition_penalty,
                   " is not a number greater than 0");
  }
  if (absl::Status s = CheckRange("presence_penalty", sampling.presence_penalty, -2, 2); !s.ok()) {
    return s;
  }
  if (absl::Status s = CheckRange("frequency_penalty", sampling.frequency_penalty, -2, 2);
      !s.ok()) {
    return s;
  }
  if (sampling.logit_bias.size() > kMaxLogitBias) {
    return Invalid("logit_bias: ", sampling.logit_bias.size(), " entries, at most ", kMaxLogitBias,
                   " are allowed");
  }
  for (const auto& [id, bias] : sampling.logit_bias) {
    if (absl::Status s = CheckTokenId("logit_bias", id, vocab_size); !s.ok()) return s;
    if (!(bias >= -100 && bias <= 100)) {
      return Invalid("logit_bias: ", bias, " of id ", id, " is not in [-100, 100]");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckStopping(const GenerateRequest& request, const ServingLimits& limits) {
  if (request.max_tokens && *request.max_tokens < 0) {
    return Invalid("max_tokens: ", *request.max_tokens, " is negative");
  }
  if (request.default_max_tokens && *request.default_max_tokens < 0) {
    return Invalid("default_max_tokens: ", *request.default_max_tokens, " is negative");
  }
  if (request.min_tokens < 0) return Invalid("min_tokens: ", request.min_tokens, " is negative");
  if (request.stop.size() > kMaxStopStrings) {
    return Invalid("stop: ", request.stop.size(), " strings, at most ", kMaxStopStrings,
                   " are allowed");
  }
  for (const std::string& stop : request.stop) {
    if (stop.empty() || stop.size() > kMaxStopStringBytes) {
      return Invalid("stop: a string of ", stop.size(), " bytes, 1 to ", kMaxStopStringBytes,
                     " are allowed");
    }
  }
  if (!request.stop.empty() && !limits.has_tokenizer) {
    return absl::FailedPreconditionError(
        absl::StrCat("stop: ", request.stop.size(),
                     " strings asked for, but the model has no tokenizer; use stop_token_ids"));
  }
  if (request.stop_token_ids.size() > kMaxStopIds) {
    return Invalid("stop_token_ids: ", request.stop_token_ids.size(), " ids, at most ", kMaxStopIds,
                   " are allowed");
  }
  for (int32_t id : request.stop_token_ids) {
    if (absl::Status s = CheckTokenId("stop_token_ids", id, limits.vocab_size); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status CheckOutput(const GenerateRequest& request) {
  if (request.logprobs && (*request.logprobs < 0 || *request.logprobs > kMaxLogprobs)) {
    return Invalid("logprobs: ", *request.logprobs, " is not in [0, ", kMaxLogprobs, "]");
  }
  if (request.prompt_logprobs &&
      (*request.prompt_logprobs < 0 || *request.prompt_logprobs > kMaxLogprobs)) {
    return Invalid("prompt_logprobs: ", *request.prompt_logprobs, " is not in [0, ", kMaxLogprobs,
                   "]");
  }
  if (request.n < 1 || request.n > kMaxChoices) {
    return Invalid("n: ", request.n, " is not in [1, ", kMaxChoices, "]");
  }
  return absl::OkStatus();
}

absl::Status CheckPrompt(const GenerateRequest& request, const ServingLimits& limits) {
  if (request.id.size() > kMaxRequestIdBytes) {
    return Invalid("request_id: ", request.id.size(), " bytes, at most ", kMaxRequestIdBytes,
                   " are allowed");
  }
  if (request.prompt.empty()) return Invalid("prompt: empty; at least one token is needed");
  const size_t context = static_cast<size_t>(limits.context);
  if (request.prompt.size() > context) {
    return absl::ResourceExhaustedError(absl::StrCat("prompt: ", request.prompt.size(),
                                                     " tokens, but the context holds ", context));
  }
  if (request.prompt.size() > static_cast<size_t>(limits.kv_tokens)) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "prompt: ", request.prompt.size(), " tokens, but the KV cache holds ", limits.kv_tokens));
  }
  for (size_t i = 0; i < request.prompt.size(); ++i) {
    const int32_t id = request.prompt[i];
    if (id < 0 || id >= limits.vocab_size) {
      return Invalid("prompt: id ", id, " at position ", i, " is not in [0, ", limits.vocab_size,
                     ")");
    }
  }
  return absl::OkStatus();
}

// The last token's KV is never needed, so a choice takes up one position less than it has tokens.
absl::StatusOr<int32_t> ResolveMaxTokens(const GenerateRequest& request,
                                         const ServingLimits& limits) {
  const int32_t prompt = static_cast<int32_t>(request.prompt.size());
  const int32_t context_leaves = limits.context - prompt;
  const int32_t cache_leaves = limits.kv_tokens - prompt + 1;
  int32_t otherwise = std::min(context_leaves, cache_leaves);
  if (request.default_max_tokens) {
    otherwise = std::min(otherwise, std::max(*request.default_max_tokens, request.min_tokens));
  }
  const int32_t max_tokens = request.max_tokens.value_or(otherwise);
  if (max_tokens > context_leaves) {
    return Invalid("max_tokens: ", max_tokens, " asked, but the context of ", limits.context,
                   " leaves ", context_leaves, " after a prompt of ", prompt, " tokens");
  }
  if (max_tokens > cache_leaves) {
    return absl::ResourceExhaustedError(
        absl::StrCat("max_tokens: ", max_tokens, " asked, but the KV cache of ", limits.kv_tokens,
                     " positions leaves ", cache_leaves, " after a prompt of ", prompt, " tokens"));
  }
  if (request.min_tokens > max_tokens) {
    return Invalid("min_tokens: ", request.min_tokens, " is more than max_tokens, which is ",
                   max_tokens);
  }
  return max_tokens;
}

// Of 53 bits, which JSON's numbers keep.
uint64_t DrawSeed() {
  std::random_device device;
  return (uint64_t{device()} << 32 | device()) >> 11;
}

}  // namespace

ServingLimits MakeServingLimits(const loader::ModelDescription& model,
                                const runtime::StepLimits& limits, bool has_tokenizer) {
  ServingLimits serving;
  serving.vocab_size = static_cast<int32_t>(model.vocab_size);
  serving.context =
      static_cast<int32_t>(std::min<int64_t>(model.max_sequence_length, limits.max_positions));
  serving.kv_tokens = static_cast<int32_t>(std::min<int64_t>(
      int64_t{limits.kv_blocks} * limits.kv_block_tokens, std::numeric_limits<int32_t>::max() / 2));
  serving.has_tokenizer = has_tokenizer;
  serving.eos_token_ids = model.eos_token_ids;
  return serving;
}

absl::StatusOr<ResolvedRequest> Resolve(GenerateRequest request, const ServingLimits& limits) {
  if (absl::Status s = CheckPrompt(request, limits); !s.ok()) return s;
  if (absl::Status s = CheckSampling(request.sampling, limits.vocab_size); !s.ok()) return s;
  if (absl::Status s = CheckStopping(request, limits); !s.ok()) return s;
  if (absl::Status s = CheckOutput(request); !s.ok()) return s;
  absl::StatusOr<int32_t> max_tokens = ResolveMaxTokens(request, limits);
  if (!max_tokens.ok()) return max_tokens.status();

  ResolvedRequest resolved;
  resolved.max_tokens = *max_tokens;
  resolved.seed = request.sampling.seed ? *request.sampling.seed : DrawSeed();
  for (int32_t id : limits.eos_token_ids) {
    if (id >= 0 && id < limits.vocab_size) resolved.suppressed_ids.push_back(id);
  }
  if (!request.ignore_eos) resolved.stop_ids = resolved.suppressed_ids;
  for (int32_t id : request.stop_token_ids) {
    resolved.stop_ids.push_back(id);
    resolved.suppressed_ids.push_back(id);
  }
  resolved.params = std::move(request);
  return resolved;
}

}  // namespace mneme::schedule
