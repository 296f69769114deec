// One rank's part of a plan.
#ifndef MNEME_ENGINE_PLAN_PLAN_OF_RANK_H_
#define MNEME_ENGINE_PLAN_PLAN_OF_RANK_H_

#include <cstdint>

#include "proto/mneme/v1/plan.pb.h"

namespace mneme::plan {

// The plan as `rank` executes it: the same registers at the same places and the same actors, but
// shapes, heads and selections are the rank's own, weights say where its part begins, inputs say
// which of their columns it reads, and what only rank 0 adds is absent elsewhere. The parts of all
// ranks stay in the registers' layouts, for exchanges.
// REQUIRES: 0 <= rank < plan.cluster().ranks(); the plan is whole, not already one rank's.
v1::Plan PlanOfRank(const v1::Plan& plan, int32_t rank);

// A plan, whole or one rank's, whose registers and actors are those of one of its programs. It has
// no programs.
v1::Plan PlanOfProgram(const v1::Plan& plan, int32_t index);

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_PLAN_OF_RANK_H_
