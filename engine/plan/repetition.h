// The blocks of a graph that are of one kind: the longest run of equal stretches of operators. They
// share their layouts.
#ifndef MNEME_ENGINE_PLAN_REPETITION_H_
#define MNEME_ENGINE_PLAN_REPETITION_H_

#include <cstddef>

#include "engine/plan/layout_rules.h"

namespace mneme::plan {

// Operators [begin + j · period, begin + (j + 1) · period) for j < count are alike, place by place,
// and so is what lives between them. count is 0 where nothing repeats.
struct Repetition {
  size_t begin = 0;
  size_t period = 0;
  size_t count = 0;

  size_t end() const { return begin + period * count; }
  // The operator of the first stretch that stands for operator `i`, or `i` itself.
  size_t First(size_t i) const {
    return count == 0 || i < begin || i >= end() ? i : begin + (i - begin) % period;
  }
  // How many operators it stands for.
  size_t Times(size_t i) const { return count == 0 || i < begin || i >= end() ? 1 : count; }
};

// The run that covers most operators, of the shortest period of at least four operators: fewer are
// no block.
Repetition FindRepetition(const LayoutRules& rules);

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_REPETITION_H_
