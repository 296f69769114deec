// The executor of a planned model: its ranks as threads or as processes.
#ifndef MNEME_ENGINE_MAKE_EXECUTOR_H_
#define MNEME_ENGINE_MAKE_EXECUTOR_H_

#include <memory>

#include "absl/status/statusor.h"
#include "engine/plan_model.h"
#include "engine/runtime/executor.h"
#include "loader/pack/packed_weights.h"

namespace mneme {

// `weights`, of the whole plan or, with processes, of rank 0, outlive the executor. seed: of
// made-up weights. Errors: those of LocalExecutor::Create and ProcessExecutor::Create.
absl::StatusOr<std::unique_ptr<runtime::Executor>> MakeExecutor(
    const PlannedModel& planned, const loader::PackedWeights& weights, const ModelOptions& options,
    uint64_t seed = 0);

}  // namespace mneme

#endif  // MNEME_ENGINE_MAKE_EXECUTOR_H_
