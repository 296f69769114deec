#include "engine/ranks/result_message.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"

namespace mneme::ranks {
namespace {

constexpr uint32_t kMagic = 0x53455252;  // "RRES"
constexpr size_t kMostText = 1024;

struct Header {
  uint32_t magic;
  int32_t tokens;
  int32_t code;
  uint32_t text_bytes;
  uint64_t step;
  double step_seconds;
  double runtime_seconds;
  kernels::Traffic traffic;
  kernels::Traffic logit_traffic;
};
static_assert(std::is_trivially_copyable_v<Header>);

}  // namespace

uint64_t MaxResultMessageBytes(int32_t max_tokens) {
  return sizeof(Header) + std::max<uint64_t>(kMostText, 24 * static_cast<uint64_t>(max_tokens));
}

void WriteResultMessage(uint64_t step, const runtime::StepResult& result,
                        std::vector<uint8_t>* to) {
  const bool ok = result.status.ok();
  const std::string text(result.status.message());
  const size_t tokens = ok ? result.token_kv_bytes.size() : 0;
  const size_t text_bytes = std::min(text.size(), kMostText);
  const Header header{kMagic,
                      static_cast<int32_t>(tokens),
                      static_cast<int32_t>(result.status.code()),
                      static_cast<uint32_t>(text_bytes),
                      step,
                      result.step_seconds,
                      result.runtime_seconds,
                      result.traffic,
                      result.logit_traffic};
  to->resize(sizeof header + 3 * tokens * sizeof(double) + text_bytes);
  uint8_t* next = to->data();
  const auto put = [&next](const void* data, size_t bytes) {
    if (bytes > 0) std::memcpy(next, data, bytes);
    next += bytes;
  };
  put(&header, sizeof header);
  put(result.token_value_row_bytes.data(), tokens * sizeof(double));
  put(result.token_expert_bytes.data(), tokens * sizeof(double));
  put(result.token_kv_bytes.data(), tokens * sizeof(double));
  put(text.data(), text_bytes);
}

absl::Status ReadResultMessage(std::span<const uint8_t> message, int32_t max_tokens,
                               RankResult* result) {
  Header header;
  if (message.size() < sizeof header) {
    return absl::InvalidArgumentError(
        absl::StrCat("a rank's result of ", message.size(), " bytes has no header"));
  }
  std::memcpy(&header, message.data(), sizeof header);
  const size_t tokens = static_cast<size_t>(std::max(header.tokens, 0));
  if (header.magic != kMagic || header.tokens < 0 || header.tokens > max_tokens ||
      header.text_bytes > kMostText ||
      message.size() != sizeof header + 3 * tokens * sizeof(double) + header.text_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a rank's result of ", message.size(), " bytes says magic ",
                     absl::Hex(header.magic), ", ", header.tokens, " tokens of at most ",
                     max_tokens, ", ", header.text_bytes, " bytes of text"));
  }
  const uint8_t* next = message.data() + sizeof header;
  for (std::vector<double>* values :
       {&result->token_value_row_bytes, &result->token_expert_bytes, &result->token_kv_bytes}) {
    values->resize(tokens);
    if (tokens > 0) std::memcpy(values->data(), next, tokens * sizeof(double));
    next += tokens * sizeof(double);
  }
  result->step = header.step;
  result->status =
      header.code == 0
          ? absl::OkStatus()
          : absl::Status(static_cast<absl::StatusCode>(header.code),
                         std::string(reinterpret_cast<const char*>(next), header.text_bytes));
  result->traffic = header.traffic;
  result->logit_traffic = header.logit_traffic;
  result->step_seconds = header.step_seconds;
  result->runtime_seconds = header.runtime_seconds;
  return absl::OkStatus();
}

}  // namespace mneme::ranks
