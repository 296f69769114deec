// What a call moves, the same for every implementation. Private to this folder.
#ifndef MNEME_KERNELS_VALUE_GATHER_VALUE_GATHER_TRAFFIC_H_
#define MNEME_KERNELS_VALUE_GATHER_VALUE_GATHER_TRAFFIC_H_

#include "kernels/value_gather/value_gather.h"

namespace mneme::kernels {

// uses: the call's selections that the share has; distinct_rows: how many rows these name.
Traffic ValueGatherTraffic(const ValueGatherArgs& args, int64_t uses, int64_t distinct_rows);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_VALUE_GATHER_VALUE_GATHER_TRAFFIC_H_
