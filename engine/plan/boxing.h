// Boxing: what turns a tensor of one layout into the same tensor of another.
#ifndef MNEME_ENGINE_PLAN_BOXING_H_
#define MNEME_ENGINE_PLAN_BOXING_H_

#include <cstdint>

#include "engine/graph/sbp.h"

namespace mneme::plan {

enum class Boxing : uint8_t {
  kNone,           // it lies so already
  kView,           // B -> S(1), B -> S(0): each rank reads its columns or rows; nothing moves
  kFrontOnly,      // B -> P: rank 0's copy is the addend, the others' are zero; nothing moves
  kAllReduce,      // P -> B
  kReduceScatter,  // P -> S(1), P -> S(0)
  kAllGather,      // S(1) -> B, of product-key candidates: a merge; S(0) -> B
  kNotPossible,    // not in one operator
};

// Total: defined for every pair of a register's layouts. From rows to columns and back it takes
// two.
constexpr Boxing BoxingFor(graph::Sbp from, graph::Sbp to) {
  using graph::Sbp;
  if (from == to) return Boxing::kNone;
  const bool to_part = to == Sbp::S(0) || to == Sbp::S(1);
  if (from == Sbp::B() && to_part) return Boxing::kView;
  if (from == Sbp::B() && to == Sbp::P()) return Boxing::kFrontOnly;
  if (from == Sbp::P() && to == Sbp::B()) return Boxing::kAllReduce;
  if (from == Sbp::P() && to_part) return Boxing::kReduceScatter;
  if (from.kind == Sbp::Kind::kSplit && from.axis < 2 && to == Sbp::B()) return Boxing::kAllGather;
  return Boxing::kNotPossible;
}

// Of a partial tensor that is read split: whether its sum is scattered, or made whole and read by
// columns or rows. Both are one exchange; the whole serves later readers too, the scattered sum is
// read and written once. last: nobody reads the tensor afterwards.
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
static_assert(BoxingFor(graph::Sbp::S(1), graph::Sbp::S(0)) == Boxing::kNotPossible);
static_assert(BoxingFor(graph::Sbp::S(0), graph::Sbp::P()) == Boxing::kNotPossible);
static_assert(BoxingFor(graph::Sbp::P(), graph::Sbp::S(0)) == Boxing::kReduceScatter);
static_assert(BoxingFor(graph::Sbp::S(0), graph::Sbp::B()) == Boxing::kAllGather);
static_assert(BoxingFor(graph::Sbp::B(), graph::Sbp::S(0)) == Boxing::kView);
static_assert(BoxingFor(graph::Sbp::S(2), graph::Sbp::B()) == Boxing::kNotPossible);
static_assert(MovesBytes(BoxingFor(graph::Sbp::P(), graph::Sbp::B())));
static_assert(MovesBytes(BoxingFor(graph::Sbp::P(), graph::Sbp::S(1))));
static_assert(!MovesBytes(BoxingFor(graph::Sbp::B(), graph::Sbp::P())));

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_BOXING_H_
