#include "server/tokenize.h"

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace mneme::server {
namespace {

absl::Status NoTokenizer() { return absl::FailedPreconditionError("the model has no tokenizer"); }

absl::Status CheckIds(std::span<const int32_t> ids, int32_t vocab_size) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat("token_ids: id ", ids[i], " at position ", i,
                                                     " is not in [0, ", vocab_size, ")"));
    }
  }
  return absl::OkStatus();
}

absl::Status TooMuchText(size_t ids, const TextLimits& limits) {
  return absl::ResourceExhaustedError(absl::StrCat("token_ids: the text of the first ", ids,
                                                   " ids is larger than a message may be, ",
                                                   limits.max_message_bytes, " bytes"));
}

// Decodes piece by piece and keeps no text: an id of one byte may stand for hundreds.
absl::Status CheckTextSize(std::span<const int32_t> ids, const loader::Tokenizer& tokenizer,
                           bool skip_special, const TextLimits& limits) {
  loader::StreamDecoder decoder(&tokenizer, skip_special);
  std::string piece;
  int64_t bytes = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    piece.clear();
    decoder.Append(ids[i], &piece);
    bytes += static_cast<int64_t>(piece.size());
    if (bytes > limits.max_message_bytes) return TooMuchText(i + 1, limits);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Tokenize(const v1::TokenizeRequest& request, const loader::Tokenizer* tokenizer,
                      const TextLimits& limits, v1::TokenizeReply* reply) {
  if (tokenizer == nullptr) return NoTokenizer();
  const bool add_special = !request.has_add_special_tokens() || request.add_special_tokens();
  const absl::StatusOr<std::vector<int32_t>> ids = tokenizer->Encode(request.text(), add_special);
  if (!ids.ok()) {
    return absl::Status(ids.status().code(), absl::StrCat("text: ", ids.status().message()));
  }
  reply->mutable_token_ids()->Add(ids->begin(), ids->end());
  const int64_t bytes = static_cast<int64_t>(reply->ByteSizeLong());
  if (bytes > limits.max_message_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat("text: its ", ids->size(), " token ids take ",
                                                     bytes, " bytes, a message may have ",
                                                     limits.max_message_bytes));
  }
  return absl::OkStatus();
}

absl::Status Detokenize(const v1::DetokenizeRequest& request, const loader::Tokenizer* tokenizer,
                        const TextLimits& limits, v1::DetokenizeReply* reply) {
  if (tokenizer == nullptr) return NoTokenizer();
  const bool skip_special = !request.has_skip_special_tokens() || request.skip_special_tokens();
  const std::span<const int32_t> ids(request.token_ids().data(),
                                     static_cast<size_t>(request.token_ids_size()));
  if (absl::Status status = CheckIds(ids, limits.vocab_size); !status.ok()) return status;
  absl::Status status = CheckTextSize(ids, *tokenizer, skip_special, limits);
  if (!status.ok()) return status;
  reply->set_text(tokenizer->Decode(ids, skip_special));
  // Piece by piece is now and then a little shorter, and the message has a field's head.
  if (static_cast<int64_t>(reply->ByteSizeLong()) > limits.max_message_bytes) {
    return TooMuchText(ids.size(), limits);
  }
  return absl::OkStatus();
}

}  // namespace mneme::server
