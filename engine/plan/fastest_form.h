// Which form of a graph a plan is made of.
#ifndef MNEME_ENGINE_PLAN_FASTEST_FORM_H_
#define MNEME_ENGINE_PLAN_FASTEST_FORM_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/graph/forms.h"
#include "engine/graph/graph.h"
#include "engine/plan/runnable_signatures.h"

namespace mneme::plan {

// choose(graph) of the form that takes the least time, the earlier of equals. choose gives a
// StatusOr of what seconds(result) is the time of. Where no form will do, the error of the one that
// has what the pins name: columns of tables and operators that are fused elsewhere are in the last.
template <class Choose, class Seconds>
auto FastestForm(const graph::Graph& graph, int32_t ranks, const LayoutPins& pins,
                 const Choose& choose, const Seconds& seconds) -> decltype(choose(graph)) {
  auto best = choose(graph);
  if (ranks == 1) return best;
  const bool fused = pins.tables != LayoutPins::Tables::kColumns && HasOperators(graph, pins);
  const std::vector<graph::Graph> forms = graph::Forms(graph);
  for (size_t i = 1; i < forms.size(); ++i) {
    auto other = choose(forms[i]);
    const bool better = other.ok() ? !best.ok() || seconds(*other) < seconds(*best)
                                   : !best.ok() && !fused && HasOperators(forms[i], pins);
    if (better) best = std::move(other);
  }
  return best;
}

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_FASTEST_FORM_H_
