// What this process may still allocate.
#ifndef MNEME_KERNELS_DEVICE_HOST_MEMORY_H_
#define MNEME_KERNELS_DEVICE_HOST_MEMORY_H_

#include <cstdint>
#include <string>

namespace mneme::kernels {

// Bytes: the system's MemAvailable, or less where a control group (v2) of the process allows less.
// 0 when neither can be read.
int64_t AvailableHostMemory();

// The same from another root folder, e.g. a test's, instead of "/".
int64_t AvailableHostMemory(const std::string& root);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_DEVICE_HOST_MEMORY_H_
