// How many cores this process may keep busy.
#ifndef MNEME_KERNELS_DEVICE_HOST_CORES_H_
#define MNEME_KERNELS_DEVICE_HOST_CORES_H_

#include <cstdint>
#include <string_view>

namespace mneme::kernels {

// The cores of the affinity mask, but no more than the cgroup's quota allows (rounded down, at
// least one).
int32_t UsableCores();

// Cores of a cgroup v2 `cpu.max`: "200000 100000" is 2, "max 100000" or anything else is 0, none.
int32_t CoresOfQuota(std::string_view cpu_max);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_DEVICE_HOST_CORES_H_
