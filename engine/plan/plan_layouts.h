// Layouts as a plan writes them down, and its weights with theirs.
#ifndef MNEME_ENGINE_PLAN_PLAN_LAYOUTS_H_
#define MNEME_ENGINE_PLAN_PLAN_LAYOUTS_H_

#include <cstdint>
#include <vector>

#include "engine/graph/graph.h"
#include "engine/graph/sbp.h"
#include "engine/plan/partition.h"
#include "proto/mneme/v1/plan.pb.h"

namespace mneme::plan {

// Without its parts.
v1::Layout LayoutOf(graph::Sbp sbp);

// Appends `parts`, in units of `width`.
void SetParts(const Parts& parts, int64_t width, v1::Layout* layout);

// The graph's weights, each in the layout in which its readers' signatures see it. REQUIRES:
// signatures by operator, which agree on weights that several operators read.
void AddWeights(const graph::Graph& graph, const Partition& partition,
                const std::vector<graph::Signature>& signatures, v1::Plan* plan);

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_PLAN_LAYOUTS_H_
