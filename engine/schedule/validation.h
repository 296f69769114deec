// What a request may ask for. Messages name the field and the value.
#ifndef MNEME_ENGINE_SCHEDULE_VALIDATION_H_
#define MNEME_ENGINE_SCHEDULE_VALIDATION_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/runtime/step.h"
#include "engine/schedule/request.h"
#include "loader/model/model_description.h"

namespace mneme::schedule {

inline constexpr size_t kMaxRequestIdBytes = 128;
inline constexpr size_t kMaxLogitBias = 1024;
inline constexpr size_t kMaxStopStrings = 16;
inline constexpr size_t kMaxStopStringBytes = 256;
inline constexpr size_t kMaxStopIds = 64;
inline constexpr int32_t kMaxChoices = 64;

// What an engine can serve.
struct ServingLimits {
  int32_t vocab_size = 0;
  int32_t context = 0;    // tokens of prompt and output that one choice may have
  int32_t kv_tokens = 0;  // positions of the whole KV cache
  bool has_tokenizer = false;
  std::vector<int32_t> eos_token_ids;
};

ServingLimits MakeServingLimits(const loader::ModelDescription& model,
                                const runtime::StepLimits& limits, bool has_tokenizer);

// Checks every field and resolves defaults. INVALID_ARGUMENT; RESOURCE_EXHAUSTED for a prompt that
// the context, or a choice that the KV cache, can never hold; FAILED_PRECONDITION for stop strings
// without a tokenizer. A seed is drawn if there is none.
absl::StatusOr<ResolvedRequest> Resolve(GenerateRequest request, const ServingLimits& limits);

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_VALIDATION_H_
