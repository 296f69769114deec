// Boxing: what turns a tensor of one layout into the same tensor of another.
#ifndef MNEME_ENGINE_PLAN_BOXING_H_
#define MNEME_ENGINE_PLAN_BOXING_H_

#include <cstdint>

#include "engine/graph/sbp.h"

namespace mneme::plan {

enum class Boxing : uint8_t {
  kNone,           // it lies so already
  kView,           // B -> S(1): each rank reads its columns; nothing moves
  kFrontOnly,      // B -> P: rank 0's copy is the addend, the others' are zero; nothing moves
  kAllReduce,      // P -> B
  kReduceScatter,  // P -> S(1)
  kAllGather,      // S(1) -> B; of product-key candidates: a merge
  kNotPossible,    // not in one operator
};

// Total: defined for every pair. Only columns are split so far: a step's rows are too few at
// decode.
constexpr Boxing BoxingFor(graph::Sbp from, graph::Sbp to) {
  using graph::Sbp;
  if (from == to) return Boxing::kNone;
  if (from == Sbp::B() && to == Sbp::S(1)) return Boxing::kView;
  if (from == Sbp::B() && to == Sbp::P()) return Boxing::kFrontOnly;
  if (from == Sbp::P() && to == Sbp::B()) return Boxing::kAllReduce;
  if (from == Sbp::P() && to == Sbp::S(1)) return Boxing::kReduceScatter;
  if (from == Sbp::S(1) && to == Sbp::B()) return Boxing::kAllGather;
  return Boxing::kNotPossible;
}

// Of a partial tensor that is read split: whether its sum is scattered, or made whole and read by
// columns. Both are one exchange; the whole serves later readers too, the scattered sum is read and
// written once. last: nobody reads the tensor afterwards.
constexpr bool Scatters(bool last) { return last; }

constexpr bool MovesBytes(Boxing boxing) {
  return boxing == Boxing::kAllReduce || boxing == Boxing::kReduceScatter ||
         boxing == Boxing::kAllGather;
}

static_assert(BoxingFor(graph::Sbp::B(), graph::Sbp::B()) == Boxing::kNone);
static_assert(BoxingFor(graph::Sbp::S(1), graph::Sbp::S(1)) == Boxing::kNone);
static_assert(BoxingFor(graph::Sbp::S(0), graph::Sbp::S(1)) == Boxing::kNotPossible);
static_assert(BoxingFor(graph::Sbp::S(1), graph::Sbp::P()) == Boxing::kNotPossible);
static_assert(BoxingFor(graph::Sbp::P(), graph::Sbp::S(1)) == Boxing::kReduceScatter);
static_assert(BoxingFor(graph::Sbp::P(), graph::Sbp::S(0)) == Boxing::kNotPossible);
static_assert(MovesBytes(BoxingFor(graph::Sbp::P(), graph::Sbp::B())));
static_assert(MovesBytes(BoxingFor(graph::Sbp::P(), graph::Sbp::S(1))));
static_assert(!MovesBytes(BoxingFor(graph::Sbp::B(), graph::Sbp::P())));

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_BOXING_H_
