#include "engine/plan/choose_layouts.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/graph/pre_scores.h"
#include "engine/plan/partition.h"

namespace mneme::plan {
namespace {

using graph::Graph;

absl::StatusOr<LayoutChoice> ChooseIn(Graph graph, const CompileOptions& options) {
  const Partition partition(graph, options.cluster.ranks());
  absl::StatusOr<SignatureOptions> allowed = PinnedSignatures(graph, partition, options.pins);
  if (!allowed.ok()) return allowed.status();
  Choice choice = ChooseSignatures(graph, partition, options.cost, *allowed);
  if (choice.seconds == std::numeric_limits<double>::infinity()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the layouts asked for (", PinsText(options.pins), ") do not go together on ",
                     partition.ranks(), " ranks: one weight has one layout for all its readers, ",
                     "and some tensor would have to be read as it cannot lie"));
  }
  return LayoutChoice{std::move(graph), std::move(choice)};
}

}  // namespace

absl::StatusOr<LayoutChoice> ChooseLayouts(const Graph& graph, const CompileOptions& options) {
  absl::StatusOr<LayoutChoice> fused = ChooseIn(graph, options);
  if (options.cluster.ranks() == 1 || !graph::HasFusedPreScores(graph)) return fused;
  absl::StatusOr<LayoutChoice> scored = ChooseIn(graph::WithPreScores(graph), options);
  if (!scored.ok()) {
    // The pins name what only one of the forms has.
    return options.pins.tables == LayoutPins::Tables::kColumns ? scored : fused;
  }
  if (!fused.ok()) return scored;
  return scored->choice.seconds < fused->choice.seconds ? scored : fused;
}

}  // namespace mneme::plan
