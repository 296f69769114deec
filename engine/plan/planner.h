// Chooses a signature for every operator of a graph: the one of least modelled time for a decode
// step.
#ifndef MNEME_ENGINE_PLAN_PLANNER_H_
#define MNEME_ENGINE_PLAN_PLANNER_H_

#include <cstdint>
#include <vector>

#include "engine/graph/graph.h"
#include "engine/graph/sbp.h"
#include "engine/plan/partition.h"
#include "engine/plan/runnable_signatures.h"

namespace mneme::plan {

// What moving bytes costs on one rank, while all ranks do.
struct CostModel {
  double bytes_per_second = 25e9;
  // Random rows of value tables, relative to bytes that are streamed.
  double row_penalty = 4;
  // Of one exchange, beside its bytes: all ranks meet, and each looks at every other one's count.
  double exchange_seconds = 2e-6;
  double exchange_seconds_per_rank = 0.25e-6;
  // What a sequence has in its KV cache.
  int64_t context = 512;
};

struct Choice {
  std::vector<graph::Signature> signatures;  // by operator
  double seconds = 0;                        // modelled, of a step of one token
};

// Exact: no other choice among the options and boxings has a smaller modelled time (dynamic
// programming over the layouts of the tensors alive at each operator). On one rank everything is B.
// Where the options do not go together: infinite seconds, no signatures.
Choice ChooseSignatures(const graph::Graph& graph, const Partition& partition,
                        const CostModel& cost, const SignatureOptions& options);

// The number of ranks from 1, 2, 4, ... and `most` on which a step takes the least modelled time,
// the smallest such number.
int32_t ChooseRanks(const graph::Graph& graph, int32_t most, const CostModel& cost);

// The modelled time of given signatures with the boxings that they need, or infinity where there is
// no such boxing. The definition of what ChooseSignatures makes least.
double ModelledSeconds(const graph::Graph& graph, const Partition& partition, const CostModel& cost,
                       const std::vector<graph::Signature>& signatures);

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_PLANNER_H_
