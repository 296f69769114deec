// Where a plan's registers lie.
#ifndef MNEME_ENGINE_PLAN_PLACE_REGISTERS_H_
#define MNEME_ENGINE_PLAN_PLACE_REGISTERS_H_

#include <cstdint>
#include <set>

#include "proto/mneme/v1/plan.pb.h"

namespace mneme::plan {

// Gives every register of the plan its slots, bytes and place in the arena, from the order of its
// actors; `traced` ones are kept to the end of the step, as the logits are. A register has the same
// place on all ranks, as large as its widest part needs.
void PlaceRegisters(const std::set<int32_t>& traced, v1::Plan* plan);

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_PLACE_REGISTERS_H_
