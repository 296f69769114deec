#include "engine/plan/choose_layouts.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/plan/fastest_form.h"
#include "engine/plan/partition.h"

namespace mneme::plan {
namespace {

using graph::Graph;

// What ranks hold beside weights: the KV cache, and the registers of the plan itself.
MemoryNeeds NeedsOf(const Graph& graph, const CompileOptions& options) {
  const v1::StepLimits& limits = options.limits;
  return {.kv_positions = int64_t{limits.kv_blocks()} * limits.kv_block_tokens(),
          .registers = [&](const LayoutRules& rules, const std::vector<size_t>& chosen) {
            std::vector<graph::Signature> signatures;
            for (size_t i = 0; i < chosen.size(); ++i) {
              signatures.push_back(rules.options()[i][chosen[i]][kInner]);
            }
            return ArenaBytes(graph, options, signatures);
          }};
}

absl::StatusOr<LayoutChoice> ChooseIn(Graph graph, const CompileOptions& options) {
  const Partition partition(graph, options.cluster.ranks());
  absl::StatusOr<SignatureOptions> allowed = PinnedSignatures(graph, partition, options.pins);
  if (!allowed.ok()) return allowed.status();
  absl::StatusOr<Choice> choice = ChooseSignatures(
      graph, partition, options.cost, *allowed, NeedsOf(graph, options),
      {options.limits.max_tokens(), options.limits.max_positions(), options.pins.large_steps});
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
  return FastestForm(
      graph, options.cluster.ranks(), options.pins,
      [&](const Graph& form) { return ChooseIn(form, options); },
      [](const LayoutChoice& chosen) { return chosen.choice.seconds; });
}

absl::StatusOr<int32_t> ChooseRanks(const Graph& graph, CompileOptions options, int32_t most,
                                    const std::function<CostModel(int32_t ranks)>& cost) {
  int32_t best = 0;
  double least = kNever;
  absl::Status refused;
  for (int32_t ranks = 1; ranks <= most; ranks = 2 * ranks < most ? 2 * ranks : most) {
    options.cluster.set_ranks(ranks);
    options.cost = cost(ranks);
    const absl::StatusOr<LayoutChoice> chosen = ChooseLayouts(graph, options);
    if (!chosen.ok()) {
      refused = chosen.status();
    } else if (chosen->choice.seconds < least) {
      least = chosen->choice.seconds;
      best = ranks;
    }
    if (ranks == most) break;
  }
  if (best == 0) return refused;
  return best;
}

}  // namespace mneme::plan
