// Larger steps: other layouts of activations for the weights of a plan. A step of many tokens may
// be divided by rows, where a decode step has too few.
#ifndef MNEME_ENGINE_PLAN_ROW_SPLITS_H_
#define MNEME_ENGINE_PLAN_ROW_SPLITS_H_

#include "engine/graph/graph.h"
#include "engine/graph/sbp.h"
#include "engine/plan/runnable_signatures.h"

namespace mneme::plan {

// A signature under which each rank computes some of a step's rows: a tensor is S(0).
bool SplitsRows(const graph::Signature& signature);

// With each operator's signatures of that kind behind its options, but for operators on a step's
// logit rows.
SignatureOptions WithRowSplits(const graph::Graph& graph, SignatureOptions options);

// Whether a step in which an operator has signature `other` gives the bits of one in which it has
// `chosen`: what is a sum of addends is one in both, so sums have the same slices. Everything else
// that a signature divides, rows and columns, is computed element by element. Weights are not
// looked at.
bool SameSums(const graph::Signature& chosen, const graph::Signature& other);

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_ROW_SPLITS_H_
