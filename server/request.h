// A GenerateRequest of the wire as the engine takes it.
//
// Here stand the checks of what the engine cannot see any more: which form of prompt was sent, how
// long it is, what the id looks like. Ranges of sampling and stop settings are the engine's to
// check.
#ifndef MNEME_SERVER_REQUEST_H_
#define MNEME_SERVER_REQUEST_H_

#include <google/protobuf/io/zero_copy_stream.h>

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "loader/tokenizer/tokenizer.h"
#include "proto/mneme/v1/generation.pb.h"

namespace mneme::server {

inline constexpr int kMaxRequestIdBytes = 128;

struct RequestLimits {
  // More prompt tokens than these: RESOURCE_EXHAUSTED.
  int32_t max_prompt_tokens = 0;
  // The size of a message. gRPC refuses larger requests itself.
  int64_t max_message_bytes = 0;
};

// What absent fields of a request take. What is absent here too takes the engine's default.
struct RequestDefaults {
  v1::SamplingParams sampling;
  std::optional<int32_t> max_tokens;  // at most what the context leaves
};

// The id of a serialized GenerateRequest, without reading the rest of it; "" if it has none, one
// that is too long, or is none.
std::string PeekRequestId(google::protobuf::io::ZeroCopyInputStream* message);

// Everything but the prompt; `defaults` fills absent fields. id is the request's, or made_up_id
// when that is empty. INVALID_ARGUMENT names the field and the value.
absl::StatusOr<GenerateRequest> ToEngineRequest(const v1::GenerateRequest& request,
                                                const RequestDefaults& defaults,
                                                const std::string& made_up_id);

// Fills request->prompt from the wire's text or ids. tokenizer may be null. Takes time in
// proportion to the text. INVALID_ARGUMENT names the field, RESOURCE_EXHAUSTED the limit; a text
// without a tokenizer is FAILED_PRECONDITION.
absl::Status FillPrompt(const v1::GenerateRequest& request, const loader::Tokenizer* tokenizer,
                        const RequestLimits& limits, GenerateRequest* out);

}  // namespace mneme::server

#endif  // MNEME_SERVER_REQUEST_H_
