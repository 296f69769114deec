// How the stacked weights of a Mixture-of-Experts are cut over ranks, and what a token reads of
// them.
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

// Bytes of expert weights that one token makes the fullest rank read. Which experts a token chooses
// is not known: of a rank that has some of them it is the mean of a uniform choice and one standard
// deviation, about what the fullest of a few ranks meets. REQUIRES: as above; where the signature
// splits, that there are parts.
double ExpertBytesOfToken(const graph::Graph& graph, const graph::Operator& op,
                          const graph::Signature& signature, int32_t ranks);

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_EXPERT_PARTS_H_
