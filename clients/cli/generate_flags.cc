#include "clients/cli/generate_flags.h"

#include <iterator>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "loader/files/mapped_file.h"
#include "loader/text/text.h"

namespace mneme::cli {
namespace {

// Above what any server takes in one message (2 GiB is the wire's own limit).
constexpr int64_t kMostPromptBytes = (int64_t{1} << 31) - 1;

absl::Status FillPrompt(const GenerateFlags& flags, const std::vector<std::string>& positionals,
                        std::istream& in, v1::GenerateRequest* request) {
  const int given = static_cast<int>(!positionals.empty()) + flags.prompt_ids.has_value() +
                    flags.prompt_file.has_value();
  if (given != 1) {
    return absl::InvalidArgumentError(
        given == 0 ? "a prompt is needed: PROMPT, - for standard input, --prompt-file or "
                     "--prompt-ids"
                   : "PROMPT, --prompt-file and --prompt-ids exclude one another");
  }
  if (flags.prompt_ids.has_value()) {
    std::vector<int32_t> ids;
    const absl::Status status = ParseIntegers(*flags.prompt_ids, &ids);
    if (!status.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("--prompt-ids: ", status.message()));
    }
    request->mutable_token_ids()->mutable_ids()->Assign(ids.begin(), ids.end());
    return absl::OkStatus();
  }
  std::string text;
  if (flags.prompt_file.has_value()) {
    absl::StatusOr<std::string> read = loader::ReadSmallFile(*flags.prompt_file, kMostPromptBytes);
    if (!read.ok()) {
      return absl::Status(read.status().code(),
                          absl::StrCat("--prompt-file: ", read.status().message()));
    }
    text = *std::move(read);
  } else if (positionals[0] == "-") {
    text.assign(std::istreambuf_iterator<char>(in), {});
  } else {
    text = positionals[0];
  }
  if (const int64_t bad = loader::FirstInvalidUtf8(text); bad >= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the prompt is not valid UTF-8: byte ", bad, " of ", text.size()));
  }
  request->set_text(text);
  return absl::OkStatus();
}

absl::Status FillLogitBias(const std::vector<std::string>& biases, v1::SamplingParams* out) {
  for (const std::string& bias : biases) {
    const size_t equals = bias.find('=');
    int32_t id = 0;
    float value = 0;
    if (equals == std::string::npos || !absl::SimpleAtoi(bias.substr(0, equals), &id) ||
        !absl::SimpleAtof(bias.substr(equals + 1), &value)) {
      return absl::InvalidArgumentError(absl::StrCat("--logit-bias: '", bias, "' is not ID=VALUE"));
    }
    (*out->mutable_logit_bias())[id] = value;
  }
  return absl::OkStatus();
}

}  // namespace

void GenerateFlags::AddTo(FlagTable* flags) {
  flags->Add("prompt-ids", &prompt_ids, "\"1 2 3\"", "The prompt as token ids.");
  flags->Add("prompt-file", &prompt_file, "FILE", "A file whose text is the prompt.");
  flags->Add("max-tokens", &max_tokens, "N",
             "Output tokens per choice. Default: the model's, or what the context leaves.");
  flags->Add("min-tokens", &min_tokens, "N", "No end of any kind before so many output tokens.");
  flags->Add("temperature", &temperature, "T", "0: greedy. Default: the model's.");
  flags->Add("top-p", &top_p, "P", "Sample from the likeliest tokens that sum to P.");
  flags->Add("top-k", &top_k, "K", "Sample from the K likeliest tokens; 0 or -1: from all.");
  flags->Add("min-p", &min_p, "P", "Drop tokens less likely than P times the likeliest.");
  flags->Add("repetition-penalty", &repetition_penalty, "X",
             "Above 1: tokens of prompt and output become less likely.");
  flags->Add("presence-penalty", &presence_penalty, "X", "Taken from tokens of the output.");
  flags->Add("frequency-penalty", &frequency_penalty, "X",
             "Taken from tokens of the output, for each time they stand there.");
  flags->Add("logit-bias", &logit_bias, "ID=VALUE", "Added to the token's logit.");
  flags->Add("seed", &seed, "S", "Same seed, same text. Default: drawn, and reported.");
  flags->Add("stop", &stop, "TEXT", "Stop where this text appears.");
  flags->Add("stop-token-ids", &stop_token_ids, "IDS", "Stop at these tokens.");
  flags->Add("ignore-eos", &ignore_eos, "Go on after the end-of-sequence token.");
  flags->Add("include-stop-str-in-output", &include_stop_str_in_output,
             "Keep what stopped the output.");
  flags->Add("logprobs", &logprobs, "N",
             "Log-probabilities of the output's tokens, with N alternatives each (with --json).");
  flags->Add("prompt-logprobs", &prompt_logprobs, "N", "The same for the prompt's tokens.");
  flags->Add("n", &n, "N", "Choices.");
  flags->Add("echo", &echo, "Begin the output with the prompt.");
  flags->Add("skip-special-tokens", &skip_special_tokens, "Leave special tokens out of the text.");
  flags->Add("add-special-tokens", &add_special_tokens,
             "Let the tokenizer add its special tokens to the prompt.");
  flags->Add("token-ids-only", &token_ids_only, "Ask for token ids only, no text.");
  flags->Add("request-id", &request_id, "ID", "Echoed in replies and in the server's log.");
}

absl::StatusOr<v1::GenerateRequest> GenerateFlags::ToRequest(
    const std::vector<std::string>& positionals, std::istream& in) const {
  v1::GenerateRequest request;
  absl::Status status = FillPrompt(*this, positionals, in, &request);
  if (!status.ok()) return status;
  request.set_request_id(request_id);
  v1::SamplingParams* sampling = request.mutable_sampling();
  if (temperature) sampling->set_temperature(*temperature);
  if (top_p) sampling->set_top_p(*top_p);
  if (top_k) sampling->set_top_k(*top_k);
  if (min_p) sampling->set_min_p(*min_p);
  if (repetition_penalty) sampling->set_repetition_penalty(*repetition_penalty);
  if (presence_penalty) sampling->set_presence_penalty(*presence_penalty);
  if (frequency_penalty) sampling->set_frequency_penalty(*frequency_penalty);
  if (seed) sampling->set_seed(*seed);
  status = FillLogitBias(logit_bias, sampling);
  if (!status.ok()) return status;
  v1::StopParams* stopping = request.mutable_stopping();
  if (max_tokens) stopping->set_max_tokens(*max_tokens);
  if (min_tokens) stopping->set_min_tokens(*min_tokens);
  for (const std::string& text : stop) stopping->add_stop(text);
  stopping->mutable_stop_token_ids()->Assign(stop_token_ids.begin(), stop_token_ids.end());
  stopping->set_ignore_eos(ignore_eos);
  stopping->set_include_stop_str_in_output(include_stop_str_in_output);
  if (logprobs) request.set_logprobs(*logprobs);
  if (prompt_logprobs) request.set_prompt_logprobs(*prompt_logprobs);
  if (n) request.set_n(*n);
  request.set_echo(echo);
  request.set_skip_special_tokens(skip_special_tokens);
  request.set_add_special_tokens(add_special_tokens);
  request.set_token_ids_only(token_ids_only);
  return request;
}

}  // namespace mneme::cli
