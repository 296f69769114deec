#include "engine/serving.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/make_executor.h"
#include "engine/rank_weights.h"
#include "loader/tokenizer/tokenizer.h"

namespace mneme {
namespace {

// Divides the time since it was made into phases.
class PhaseClock {
 public:
  void End(const char* name, std::vector<StartPhase>* phases) {
    const auto now = std::chrono::steady_clock::now();
    phases->push_back({name, std::chrono::duration<double>(now - begin_).count()});
    begin_ = now;
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

class ServingImpl : public Serving {
 public:
  absl::Status Start(const ServingOptions& options) {
    PhaseClock clock;
    absl::StatusOr<PlannedModel> planned = PlanModel(options);
    if (!planned.ok()) return planned.status();
    planned_ = *std::move(planned);
    clock.End("plan", &phases_);
    absl::StatusOr<std::unique_ptr<loader::Tokenizer>> tokenizer =
        loader::Tokenizer::Load(options.model_directory);
    if (tokenizer.ok()) {
      tokenizer_ = std::move(*tokenizer);
      WarnOfTokenizer();
    } else if (!absl::IsNotFound(tokenizer.status())) {
      return tokenizer.status();
    }
    clock.End("tokenizer", &phases_);
    absl::StatusOr<loader::PackedWeights> weights = options.process.processes > 1
                                                        ? PackRank(planned_, options, /*rank=*/0)
                                                        : PackModel(planned_, options);
    if (!weights.ok()) return weights.status();
    weights_ = std::move(*weights);
    clock.End("weights", &phases_);
    absl::StatusOr<std::unique_ptr<runtime::Executor>> executor =
        MakeExecutor(planned_, weights_, options);
    if (!executor.ok()) return executor.status();
    executor_ = std::move(*executor);
    clock.End("executor", &phases_);
    WarmUp();
    clock.End("first step", &phases_);
    engine_ =
        MakeEngine(executor_.get(), planned_.checkpoint.model, tokenizer_.get(), options.schedule);
    return absl::OkStatus();
  }

  Engine& engine() override { return *engine_; }
  const loader::Checkpoint& checkpoint() const override { return planned_.checkpoint; }
  const v1::Plan& plan() const override { return planned_.plan; }
  int64_t copied_weight_bytes() const override { return weights_.owned_bytes(); }
  const std::vector<StartPhase>& start_phases() const override { return phases_; }

 private:
  // The model cannot be given the ids it has no embedding of, nor draw them.
  void WarnOfTokenizer() {
    loader::ModelDescription& model = planned_.checkpoint.model;
    if (tokenizer_->vocab_size() <= model.vocab_size) return;
    model.warnings.push_back(absl::StrCat("The tokenizer has ids up to ",
                                          tokenizer_->vocab_size() - 1,
                                          ", but the model's vocabulary has ", model.vocab_size,
                                          " entries; a text that needs an id beyond is refused."));
  }

  // One token through the model, so that the first request does not wait for mapped weights to be
  // paged in.
  void WarmUp() {
    runtime::Step* step = executor_->NextStep();
    const int32_t token = 0;
    step->AddBlockChange(0, 0, 0);
    step->AddSpan(0, 0, {&token, 1});
    step->AddLogitRow(0);
    executor_->Submit();
    executor_->Wait();
    executor_->Release();
  }

  std::vector<StartPhase> phases_;
  PlannedModel planned_;
  loader::PackedWeights weights_;
  std::unique_ptr<loader::Tokenizer> tokenizer_;
  std::unique_ptr<runtime::Executor> executor_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Serving>> Serving::Create(const ServingOptions& options) {
  auto serving = std::make_unique<ServingImpl>();
  if (absl::Status status = serving->Start(options); !status.ok()) return status;
  return serving;
}

}  // namespace mneme
