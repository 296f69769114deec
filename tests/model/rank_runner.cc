#include "tests/model/rank_runner.h"

#include <utility>

#include "engine/runtime/step_message.h"
#include "gtest/gtest.h"

namespace mneme::testing {
namespace {

constexpr int32_t kSequences = 4;
constexpr int32_t kTokens = 64;  // as many as a step has logit rows

}  // namespace

absl::StatusOr<std::unique_ptr<RankRunner>> RankRunner::Create(
    ModelOptions options, const std::function<void(v1::Plan*)>& edit) {
  options.max_step_tokens = kTokens;
  options.max_sequences = kSequences;
  std::unique_ptr<RankRunner> runner(new RankRunner());
  absl::StatusOr<PlannedModel> planned = PlanModel(options);
  if (!planned.ok()) return planned.status();
  runner->planned_ = std::move(*planned);
  if (edit) edit(&runner->planned_.plan);
  absl::StatusOr<loader::PackedWeights> weights = PackModel(runner->planned_, options);
  if (!weights.ok()) return weights.status();
  runner->weights_ = std::move(*weights);
  if (absl::Status s = runner->Start(options.reference_kernels); !s.ok()) return s;
  return runner;
}

absl::StatusOr<std::unique_ptr<RankRunner>> RankRunner::Generate(
    const loader::ModelDescription& model, v1::ElementType matrices, ModelOptions options) {
  options.max_step_tokens = kTokens;
  options.max_sequences = kSequences;
  std::unique_ptr<RankRunner> runner(new RankRunner());
  absl::StatusOr<PlannedModel> planned =
      PlanDescription(model.architecture, model, matrices, options);
  if (!planned.ok()) return planned.status();
  runner->planned_ = std::move(*planned);
  absl::StatusOr<loader::PackedWeights> weights = GenerateModel(runner->planned_, /*seed=*/1);
  if (!weights.ok()) return weights.status();
  runner->weights_ = std::move(*weights);
  if (absl::Status s = runner->Start(options.reference_kernels); !s.ok()) return s;
  return runner;
}

absl::Status RankRunner::Start(bool reference_kernels) {
  absl::StatusOr<std::unique_ptr<runtime::LocalExecutor>> executor =
      runtime::LocalExecutor::Create(planned_.plan, weights_, reference_kernels);
  if (!executor.ok()) return executor.status();
  executor_ = std::move(*executor);
  step_ = std::make_unique<runtime::Step>(executor_->limits());
  lengths_.assign(kSequences, 0);
  fresh_.assign(kSequences, true);
  reversed_.assign(kSequences, false);
  return absl::OkStatus();
}

void RankRunner::Reset(int32_t sequence, bool reversed) {
  lengths_[sequence] = 0;
  fresh_[sequence] = true;
  reversed_[sequence] = reversed;
}

std::vector<std::vector<float>> RankRunner::Run(const std::vector<Chunk>& chunks) {
  size_t tokens = 0;
  for (const Chunk& chunk : chunks) tokens += chunk.tokens.size();
  if (tokens <= kTokens) return RunStep(chunks);
  std::vector<std::vector<float>> logits;
  for (const Chunk& chunk : chunks) {
    for (std::vector<float>& row : RunStep({chunk})) logits.push_back(std::move(row));
  }
  return logits;
}

std::vector<std::vector<float>> RankRunner::RunStep(const std::vector<Chunk>& chunks) {
  step_->Clear();
  const int32_t blocks = executor_->limits().max_blocks_per_sequence();
  for (const Chunk& chunk : chunks) {
    const int32_t s = chunk.sequence;
    if (fresh_[s]) {
      for (int32_t b = 0; b < blocks; ++b) {
        step_->AddBlockChange(s, b, s * blocks + (reversed_[s] ? blocks - 1 - b : b));
      }
      fresh_[s] = false;
    }
    step_->AddSpan(s, lengths_[s], chunk.tokens);
    lengths_[s] += static_cast<int32_t>(chunk.tokens.size());
  }
  for (int32_t row = 0; row < step_->tokens(); ++row) step_->AddLogitRow(row);
  ++step_->number;
  std::vector<uint8_t> message(runtime::StepMessageBytes(*step_));
  runtime::WriteStepMessage(*step_, message);
  const absl::Status received =
      runtime::ReadStepMessage(message, executor_->limits(),
                               static_cast<int32_t>(model().embedding_size), executor_->NextStep());
  EXPECT_TRUE(received.ok()) << received;
  executor_->Submit();
  result_ = executor_->Wait();
  std::vector<std::vector<float>> logits;
  for (int64_t row = 0; row < result_.logits.rows; ++row) {
    const float* values = result_.logits.row(row);
    logits.emplace_back(values, values + result_.logits.cols);
  }
  executor_->Release();
  return logits;
}

}  // namespace mneme::testing
