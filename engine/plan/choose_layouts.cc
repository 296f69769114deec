#include "engine/plan/choose_layouts.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/graph/pre_scores.h"
#include "engine/plan/partition.h"

namespace mneme::plan {
namespace {

using graph::Graph;

// What ranks hold beside weights: the KV cache, and at most the registers of all tensors that are
// alive together, whole. Of one rank, or of all where they share their memory.
MemoryNeeds NeedsOf(const Graph& graph, const CompileOptions& options) {
  const v1::StepLimits& limits = options.limits;
  return {.kv_positions = int64_t{limits.kv_blocks()} * limits.kv_block_tokens(),
          .other_bytes = WholeRegisterBytes(graph, limits.max_tokens(), limits.max_logit_rows()) *
                         (options.cost.shared_memory ? options.cluster.ranks() : 1)};
}

absl::StatusOr<LayoutChoice> ChooseIn(Graph graph, const CompileOptions& options) {
  const Partition partition(graph, options.cluster.ranks());
  absl::StatusOr<SignatureOptions> allowed = PinnedSignatures(graph, partition, options.pins);
  if (!allowed.ok()) return allowed.status();
  absl::StatusOr<Choice> choice =
      ChooseSignatures(graph, partition, options.cost, *allowed, NeedsOf(graph, options),
                       {options.limits.max_tokens(), options.pins.large_steps});
  if (absl::IsInvalidArgument(choice.status())) {
    return absl::InvalidArgumentError(
        absl::StrCat("the layouts asked for (", PinsText(options.pins), ") do not go together on ",
                     partition.ranks(), " ranks: ", std::string(choice.status().message())));
  }
  if (!choice.ok()) return choice.status();
  return LayoutChoice{std::move(graph), *std::move(choice)};
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
