// The layouts of a plan: those of least modelled time among those that the options allow.
#ifndef MNEME_ENGINE_PLAN_CHOOSE_LAYOUTS_H_
#define MNEME_ENGINE_PLAN_CHOOSE_LAYOUTS_H_

#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"
#include "engine/graph/graph.h"
#include "engine/plan/compile.h"
#include "engine/plan/planner.h"

namespace mneme::plan {

struct LayoutChoice {
  graph::Graph graph;  // the chosen form of the given one
  Choice choice;
};

// Chooses between the forms of the graph too (graph/forms.h): columns of tables with pre-values are
// split where these scores are an operator, heads that are normed together where the sums of their
// squares are one, everything else where they are not.
// INVALID_ARGUMENT: a pin that cannot be (PinnedSignatures), or pins that do not go together;
// RESOURCE_EXHAUSTED the bytes that do not fit a rank.
absl::StatusOr<LayoutChoice> ChooseLayouts(const graph::Graph& graph,
                                           const CompileOptions& options);

// The number of ranks from 1, 2, 4, ... and `most` on which a step of the plan that Compile would
// make takes the least modelled time, the smallest such number. cost: of that many ranks; the other
// options are Compile's, of which the cluster's ranks and the costs are set here. Where no number
// will do, the error of the largest.
absl::StatusOr<int32_t> ChooseRanks(const graph::Graph& graph, CompileOptions options, int32_t most,
                                    const std::function<CostModel(int32_t ranks)>& cost);

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_CHOOSE_LAYOUTS_H_
