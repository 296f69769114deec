// From a logical graph and a cluster to a plan: which layout every tensor has, which signature
// every operator runs with, where every register lies.
#ifndef MNEME_ENGINE_PLAN_COMPILE_H_
#define MNEME_ENGINE_PLAN_COMPILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/graph/graph.h"
#include "engine/plan/planner.h"
#include "engine/plan/runnable_signatures.h"
#include "proto/mneme/v1/plan.pb.h"

namespace mneme::plan {

struct CompileOptions {
  std::string model_name;
  v1::Cluster cluster;  // ranks that share their memory
  v1::StepLimits limits;
  // Registers of traced tensors are kept to the end of the step.
  bool keep_trace = false;
  CostModel cost;
  LayoutPins pins;
};

// INVALID_ARGUMENT names the limit that makes no sense (zero, not a multiple, beyond what a kernel
// counts) or the pin that cannot be, with what can; RESOURCE_EXHAUSTED the bytes that do not fit a
// rank; INTERNAL what is wrong with the graph.
absl::StatusOr<v1::Plan> Compile(const graph::Graph& graph, const CompileOptions& options);

// Bytes of a rank's registers if the operators of `graph` have these signatures. REQUIRES: what
// Compile needs.
int64_t ArenaBytes(const graph::Graph& graph, const CompileOptions& options,
                   const std::vector<graph::Signature>& signatures);

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_COMPILE_H_
