// The flags that make a GenerateRequest, with the names vLLM gives them.
#ifndef MNEME_CLIENTS_CLI_GENERATE_FLAGS_H_
#define MNEME_CLIENTS_CLI_GENERATE_FLAGS_H_

#include <cstdint>
#include <istream>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "clients/cli/flags.h"
#include "proto/mneme/v1/generation.pb.h"

namespace mneme::cli {

struct GenerateFlags {
  std::optional<std::string> prompt_ids;
  std::optional<std::string> prompt_file;
  std::optional<float> temperature, top_p, min_p;
  std::optional<float> repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<int32_t> top_k, max_tokens, min_tokens, logprobs, prompt_logprobs, n;
  std::optional<uint64_t> seed;
  std::vector<std::string> stop, logit_bias;
  std::vector<int32_t> stop_token_ids;
  std::string request_id;
  bool ignore_eos = false;
  bool include_stop_str_in_output = false;
  bool echo = false;
  bool skip_special_tokens = true;
  bool add_special_tokens = true;
  bool token_ids_only = false;

  void AddTo(FlagTable* flags);
  // The request they stand for. The prompt is the positional argument (- reads `in`), --prompt-ids
  // or --prompt-file: exactly one. INVALID_ARGUMENT names the flag.
  absl::StatusOr<v1::GenerateRequest> ToRequest(const std::vector<std::string>& positionals,
                                                std::istream& in) const;
};

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_GENERATE_FLAGS_H_
