// Chooses a signature for every operator of a graph: those of least modelled time of a step, within
// what a rank can hold.
#ifndef MNEME_ENGINE_PLAN_PLANNER_H_
#define MNEME_ENGINE_PLAN_PLANNER_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/graph/graph.h"
#include "engine/graph/sbp.h"
#include "engine/plan/cost_model.h"
#include "engine/plan/grid.h"
#include "engine/plan/layout_search.h"
#include "engine/plan/partition.h"
#include "engine/plan/runnable_signatures.h"

namespace mneme::plan {

// Plans one graph on one grid. Weights get their layouts once, for a decode step of one token, in
// which nothing is split by rows; steps of other sizes may get other layouts of activations.
class Planner {
 public:
  // All but `needs` are kept: they outlive the planner. REQUIRES: options has at least one for each
  // operator.
  Planner(const graph::Graph& graph, const GridPartition& partition, const CostModel& cost,
          const GridOptions& options, const MemoryNeeds& needs);

  // The plan of least time of a decode step of one token, exactly (layout_search.h). Where memory
  // is limited, what a rank holds of weights, KV caches and registers never exceeds it; see Within.
  // RESOURCE_EXHAUSTED with the bytes when no plan fits, INVALID_ARGUMENT when the options do not
  // go together.
  absl::StatusOr<Found> Decode() const;

  // The least time of another step with the weights and caches of `decode`, and with its bits
  // (SameSums). Ranks that share their memory may read all of a weight that each has a part of.
  // by_rows: operators whose rows can be divided are only looked at divided.
  Found ForStep(const StepShape& step, const Found& decode, bool by_rows = false) const;

  // The best plan of a decode step in which operator `i` (and those of other blocks that share its
  // layouts) has none of the options that `decode` gives it; options are empty where there is none.
  Found RunnerUp(size_t i, const Found& decode) const;

  const LayoutRules& rules() const { return rules_; }
  const MemoryAccount& memory() const { return memory_; }
  const Repetition& repetition() const { return repetition_; }
  // Of the fullest rank, or of all together where they share their memory.
  double RegisterBytesOf(const std::vector<size_t>& options) const;

 private:
  Search SearchAll() const;
  // Whether operator `i` can have an option in a larger step of the plan that `decode` is.
  bool CanVary(size_t i, size_t option, const Found& decode) const;
  // Which operators may divide rows, and which must if they can.
  enum class Rows : uint8_t { kNone, kFree, kAllButTables, kAll };
  std::vector<size_t> Varieties(size_t i, const Found& decode, Rows rows) const;
  // What a choice has of registers is known when it is made. If it does not fit with them, the best
  // one is sought that leaves as many bytes as it had too little for; and so on: each try leaves
  // more. What has fewer registers than one that was tried may be missed. registers: gets the bytes
  // that the last one had to leave.
  Found Within(Search search, double* registers = nullptr) const;

  const graph::Graph& graph_;
  const GridPartition& partition_;
  const CostModel& cost_;
  const GridOptions& options_;
  const MemoryNeeds needs_;
  const Pricing pricing_;
  const LayoutRules rules_;
  const MemoryAccount memory_;
  const Repetition repetition_;
};

// What operators do in steps of at least so many tokens, up to the next such number.
struct StepChoice {
  int64_t from_tokens = 1;
  std::vector<graph::Signature> signatures;  // by operator
};

struct Choice {
  std::vector<graph::Signature> signatures;  // by operator, in a decode step
  double seconds = 0;                        // modelled, of a step of one token
  std::vector<StepChoice> larger_steps;      // by ascending from_tokens
  // Modelled, of the most tokens of one sequence, with which it is full.
  double longest_step_seconds = 0;
};

// Steps that a plan is for.
struct StepSizes {
  int64_t max_tokens = 1;
  int64_t max_positions = 1;  // of a sequence
  LayoutPins::LargeSteps large = LayoutPins::LargeSteps::kFree;
};

// On one axis of partition.ranks() ranks; options without row splits. Errors: those of
// Planner::Decode.
absl::StatusOr<Choice> ChooseSignatures(const graph::Graph& graph, const Partition& partition,
                                        const CostModel& cost, const SignatureOptions& options,
                                        const MemoryNeeds& needs = {}, const StepSizes& sizes = {});

// The modelled time of given signatures with the boxings that they need, or infinity where there is
// no such boxing.
double ModelledSeconds(const graph::Graph& graph, const Partition& partition, const CostModel& cost,
                       const std::vector<graph::Signature>& signatures);

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_PLANNER_H_
