// Which of an operator's signatures a plan may choose from.
#ifndef MNEME_ENGINE_PLAN_RUNNABLE_SIGNATURES_H_
#define MNEME_ENGINE_PLAN_RUNNABLE_SIGNATURES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/graph/graph.h"
#include "engine/graph/sbp.h"
#include "engine/plan/partition.h"

namespace mneme::plan {

using SignatureOptions = std::vector<std::vector<graph::Signature>>;  // by operator

// The signatures that the runtime executes on several ranks, and that the partition allows; the
// all-broadcast one first. narrow: those, too, that only a pin chooses (SplitsNarrowExperts).
std::vector<graph::Signature> RunnableSignatures(const graph::Graph& graph,
                                                 const Partition& partition,
                                                 const graph::Operator& op, bool narrow = false);

// Of every operator.
SignatureOptions RunnableSignatures(const graph::Graph& graph, const Partition& partition);

// What of a plan's layouts is settled beforehand; the planner chooses the rest.
struct LayoutPins {
  enum class Weights : uint8_t {
    kFree,
    kSplit,  // no rank has the whole of a weight that can be split
  };
  // How value tables, and the work on them, are divided.
  enum class Tables : uint8_t {
    kFree,
    kRows,        // a rank has blocks of rows
    kColumns,     // a rank has columns of the values, and of the pre-values
    kSelections,  // a rank reads some of each token's selections, and has the whole table
  };
  // How experts are divided.
  enum class Experts : uint8_t {
    kFree,
    kWhole,  // a rank has some of the experts
    kWidth,  // a rank has some hidden units of each
  };
  struct OperatorPin {
    std::string name;       // "block.3.ffn.up"; * stands for any characters
    std::string signature;  // as plans print it; spaces do not matter
  };
  // The layouts of activations in steps larger than a decode step.
  enum class LargeSteps : uint8_t {
    kFree,  // those of least modelled time
    kSame,  // those of a decode step
    kRows,  // by rows, wherever the weights' layouts allow it
  };
  Weights weights = Weights::kFree;
  Tables tables = Tables::kFree;
  Experts experts = Experts::kFree;
  LargeSteps large_steps = LargeSteps::kFree;
  std::vector<OperatorPin> operators;  // of several that name an operator the last one counts
};

// RunnableSignatures without what the pins forbid; an operator's own pin goes before the others.
// INVALID_ARGUMENT names the operator, the layout that it cannot have, and those that it can; or
// the name that no operator has.
absl::StatusOr<SignatureOptions> PinnedSignatures(const graph::Graph& graph,
                                                  const Partition& partition,
                                                  const LayoutPins& pins);

// Whether each name that the pins give is that of an operator.
bool HasOperators(const graph::Graph& graph, const LayoutPins& pins);

// "split, table layout rows, block.*.ffn.up=(B, S(0)) -> S(1)".
std::string PinsText(const LayoutPins& pins);

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_RUNNABLE_SIGNATURES_H_
