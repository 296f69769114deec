// Runs a model directory, step by step, without a schedule: for tests of the runtime.
#ifndef MNEME_TESTS_MODEL_RANK_RUNNER_H_
#define MNEME_TESTS_MODEL_RANK_RUNNER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/plan_model.h"
#include "engine/runtime/local_executor.h"

namespace mneme::testing {

// Tokens of one sequence that a step computes.
struct Chunk {
  int32_t sequence = 0;
  std::vector<int32_t> tokens;
};

class RankRunner {
 public:
  // Steps of up to 64 tokens of 4 sequences. `edit` may change the plan before it is bound.
  static absl::StatusOr<std::unique_ptr<RankRunner>> Create(
      ModelOptions options, const std::function<void(v1::Plan*)>& edit = nullptr);
  // A model that is only described, with generated weights, its matrices of the given type.
  static absl::StatusOr<std::unique_ptr<RankRunner>> Generate(const loader::ModelDescription& model,
                                                              v1::ElementType matrices,
                                                              ModelOptions options);

  // Runs one step of these chunks, each behind what its sequence has, as it arrives in a message;
  // or a step for each where one has no room for all. Returns the logits of every row, [tokens of
  // the chunks, embedding_size].
  std::vector<std::vector<float>> Run(const std::vector<Chunk>& chunks);
  // Forgets the sequence; its KV blocks are given to it anew, in another order when `reversed`.
  void Reset(int32_t sequence, bool reversed = false);

  const runtime::StepResult& result() const { return result_; }
  const runtime::LocalExecutor& executor() const { return *executor_; }
  const loader::ModelDescription& model() const { return planned_.checkpoint.model; }
  const v1::Plan& plan() const { return planned_.plan; }
  const loader::PackedWeights& weights() const { return weights_; }

 private:
  std::vector<std::vector<float>> RunStep(const std::vector<Chunk>& chunks);
  RankRunner() = default;
  // Runs the model planned_ with weights_.
  absl::Status Start(bool reference_kernels);

  PlannedModel planned_;
  loader::PackedWeights weights_;
  std::unique_ptr<runtime::LocalExecutor> executor_;
  std::unique_ptr<runtime::Step> step_;
  runtime::StepResult result_;
  std::vector<int32_t> lengths_;
  std::vector<bool> fresh_;
  std::vector<bool> reversed_;
};

}  // namespace mneme::testing

#endif  // MNEME_TESTS_MODEL_RANK_RUNNER_H_
