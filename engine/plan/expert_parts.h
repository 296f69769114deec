// How the stacked weights of a Mixture-of-Experts are cut over ranks.
#ifndef MNEME_ENGINE_PLAN_EXPERT_PARTS_H_
#define MNEME_ENGINE_PLAN_EXPERT_PARTS_H_

#include <cstdint>

#include "engine/graph/graph.h"
#include "engine/graph/sbp.h"
#include "engine/plan/partition.h"

namespace mneme::plan {

// The parts of the axis that the signature splits, the same for the operator's three weights: whole
// experts, or hidden units of each. Empty where it splits none, or where ranks are more than
// granules. REQUIRES: op is an EXPERTS operator of the graph, with one of its signatures.
Parts PartsOfExperts(const graph::Graph& graph, const graph::Operator& op,
                     const graph::Signature& signature, int32_t ranks);

// Whether the signature splits hidden units so few that some rank has less than a vector of them:
// it can be executed, but nobody gains by it. REQUIRES: as PartsOfExperts.
bool SplitsNarrowExperts(const graph::Graph& graph, const graph::Operator& op,
                         const graph::Signature& signature, int32_t ranks);

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_EXPERT_PARTS_H_
