// What registers take of a rank's memory under a choice of layouts, before there is a plan: also on
// two axes, for which none is compiled.
#ifndef MNEME_ENGINE_PLAN_REGISTER_BYTES_H_
#define MNEME_ENGINE_PLAN_REGISTER_BYTES_H_

#include <cstdint>
#include <vector>

#include "engine/plan/layout_rules.h"

namespace mneme::plan {

// At least the arena of a plan with these options (by operator) and steps of so many rows: tensors
// keep all the layouts in which they ever exist until their last reader, what is exchanged until
// the next exchange. The logits have two slots (place_registers.cc).
int64_t RegisterBytesBound(const LayoutRules& rules, const std::vector<size_t>& options,
                           int64_t tokens, int64_t logit_rows);

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_REGISTER_BYTES_H_
