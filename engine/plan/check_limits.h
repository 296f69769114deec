// Whether a graph can be planned for a step of given limits.
#ifndef MNEME_ENGINE_PLAN_CHECK_LIMITS_H_
#define MNEME_ENGINE_PLAN_CHECK_LIMITS_H_

#include "absl/status/status.h"
#include "engine/graph/graph.h"
#include "engine/plan/compile.h"

namespace mneme::plan {

// INVALID_ARGUMENT names the limit or the number of ranks that makes no sense: zero, not a
// multiple, beyond what a kernel counts.
absl::Status CheckLimits(const graph::Graph& graph, const CompileOptions& options);

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_CHECK_LIMITS_H_
