// Which of an operator's signatures a plan may choose from.
#ifndef MNEME_ENGINE_PLAN_RUNNABLE_SIGNATURES_H_
#define MNEME_ENGINE_PLAN_RUNNABLE_SIGNATURES_H_

#include <vector>

#include "engine/graph/graph.h"
#include "engine/graph/sbp.h"
#include "engine/plan/partition.h"

namespace mneme::plan {

using SignatureOptions = std::vector<std::vector<graph::Signature>>;  // by operator

// The signatures that the runtime executes on several ranks, and that the partition allows; the
// all-broadcast one first.
std::vector<graph::Signature> RunnableSignatures(const graph::Graph& graph,
                                                 const Partition& partition,
                                                 const graph::Operator& op);

// Of every operator.
SignatureOptions RunnableSignatures(const graph::Graph& graph, const Partition& partition);

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_RUNNABLE_SIGNATURES_H_
