// Runs requests on an engine in this process: for evaluation, which needs no wire.
#ifndef MNEME_CLIENTS_CLI_ENGINE_RUN_H_
#define MNEME_CLIENTS_CLI_ENGINE_RUN_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"

namespace mneme::cli {

// Queues the requests, a bounded number at a time, and waits for all. The output tokens of each
// (n must be 1), in the order of the requests. The first error ends it.
absl::StatusOr<std::vector<std::vector<int32_t>>> RunOnEngine(
    Engine* engine, std::vector<GenerateRequest> requests);

// Sees every computed token of requests whose ids are `prefix` followed by a number, whatever steps
// and chunks they came in. A token that is computed again (after a preemption) is seen again.
class TokenObserver : public StepObserver {
 public:
  explicit TokenObserver(std::string prefix) : prefix_(std::move(prefix)) {}

  struct Token {
    int64_t request = 0;  // the number in its id
    int64_t position = 0;
    int32_t row = 0;                // of the step
    std::span<const float> logits;  // empty when they were not computed
  };
  // On the schedule's thread.
  virtual void OnToken(const Token& token, const runtime::Executor& executor) = 0;

  void OnStep(const runtime::Step& step, const runtime::StepResult& result,
              const runtime::Executor& executor,
              std::span<const std::string_view> request_ids) final;

  std::string IdOf(int64_t request) const { return prefix_ + std::to_string(request); }

 private:
  const std::string prefix_;
};

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_ENGINE_RUN_H_
