#include "clients/cli/perplexity.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/cli/engine_run.h"
#include "engine/serving.h"
#include "loader/files/mapped_file.h"
#include "loader/tokenizer/tokenizer.h"

namespace mneme::cli {
namespace {

// The loss at every predicted position, by the position of the token that it is predicted from.
class LossObserver : public TokenObserver {
 public:
  LossObserver(const std::vector<int32_t>& ids, int64_t window, int64_t windows)
      : TokenObserver("loss-"),
        losses(static_cast<size_t>(windows * window)),
        ids_(ids),
        window_(window) {}

  void OnToken(const Token& token, const runtime::Executor&) override {
    const int64_t at = token.request * window_ + token.position;
    if (token.logits.empty() || token.position >= window_) return;
    if (at >= static_cast<int64_t>(losses.size())) return;
    const size_t i = static_cast<size_t>(at);
    losses[i] = NegativeLogProbability(token.logits, ids_[i + 1]);
  }

  std::vector<double> losses;

 private:
  const std::vector<int32_t>& ids_;
  const int64_t window_;
};

// Also what no prompt holds and nobody else looks at: the token behind the last window.
absl::Status CheckTokens(const PerplexityOptions& options, const std::vector<int32_t>& ids,
                         const loader::ModelDescription& model) {
  if (options.window > model.max_sequence_length) {
    return absl::InvalidArgumentError(absl::StrCat(
        "window: ", options.window, " tokens, but the context holds ", model.max_sequence_length));
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < model.vocab_size) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(options.text_path, ": token ", i, " of the text has id ", ids[i],
                     ", which the model's vocabulary of ", model.vocab_size, " does not have"));
  }
  return absl::OkStatus();
}

std::vector<GenerateRequest> WindowRequests(const std::vector<int32_t>& ids, int64_t window,
                                            int64_t windows, const LossObserver& observer) {
  std::vector<GenerateRequest> requests;
  for (int64_t w = 0; w < windows; ++w) {
    GenerateRequest request;
    request.id = observer.IdOf(w);
    request.prompt.assign(ids.begin() + w * window, ids.begin() + (w + 1) * window);
    request.max_tokens = 0;
    request.text = false;
    request.all_logits = true;
    requests.push_back(std::move(request));
  }
  return requests;
}

}  // namespace

double NegativeLogProbability(std::span<const float> logits, int32_t id) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double{logit} - largest);
  return std::log(sum) + largest - double{logits[static_cast<size_t>(id)]};
}

absl::StatusOr<PerplexityResult> Perplexity(const PerplexityOptions& options) {
  const absl::StatusOr<std::string> text =
      loader::ReadSmallFile(options.text_path, loader::kMaxEncodeBytes);
  if (!text.ok()) return text.status();
  const absl::StatusOr<std::unique_ptr<loader::Tokenizer>> tokenizer =
      loader::Tokenizer::Load(options.model.model_directory);
  if (!tokenizer.ok()) return tokenizer.status();
  const absl::StatusOr<std::vector<int32_t>> ids = (*tokenizer)->Encode(*text, false);
  if (!ids.ok()) {
    return absl::Status(ids.status().code(),
                        absl::StrCat(options.text_path, ": ", ids.status().message()));
  }
  const int64_t tokens = static_cast<int64_t>(ids->size());
  const int64_t windows = options.window > 0 ? (tokens - 1) / options.window : 0;
  if (windows < 1) {
    return absl::InvalidArgumentError(absl::StrCat(options.text_path, ": ", tokens,
                                                   " tokens do not fill one window of ",
                                                   options.window, " and a token after it"));
  }
  LossObserver observer(*ids, options.window, windows);
  ServingOptions serving_options;
  static_cast<ModelOptions&>(serving_options) = options.model;
  serving_options.schedule.observer = &observer;
  serving_options.schedule.prefix_cache = false;
  absl::StatusOr<std::unique_ptr<Serving>> serving = Serving::Create(serving_options);
  if (!serving.ok()) return serving.status();
  if (absl::Status s = CheckTokens(options, *ids, (*serving)->engine().model()); !s.ok()) return s;
  const auto ran =
      RunOnEngine(&(*serving)->engine(), WindowRequests(*ids, options.window, windows, observer));
  if (!ran.ok()) return ran.status();

  PerplexityResult result;
  double total = 0;
  for (const double loss : observer.losses) total += loss;
  result.windows = windows;
  result.predictions = windows * options.window;
  result.tokens = tokens;
  result.bytes = static_cast<int64_t>(text->size());
  const std::span<const int32_t> predicted(ids->data() + 1,
                                           static_cast<size_t>(result.predictions));
  result.predicted_bytes =
      static_cast<int64_t>((*tokenizer)->Decode(predicted, /*skip_special=*/false).size());
  result.loss = total / static_cast<double>(result.predictions);
  result.loss_per_byte = total / static_cast<double>(result.predicted_bytes);
  return result;
}

}  // namespace mneme::cli
