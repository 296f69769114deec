// Which instructions a kernel may use. One binary holds every path; the plan resolves one at start.
#ifndef MNEME_KERNELS_DEVICE_ISA_H_
#define MNEME_KERNELS_DEVICE_ISA_H_

#include <cstdint>
#include <optional>
#include <string_view>

namespace mneme::kernels {

// Ordered: a machine that runs one runs all below it.
//   kPortable  any x86-64 (or other) machine; multiply and add round separately.
//   kAvx2      AVX2 + FMA + BMI2.
//   kAvx512    the same + AVX-512 F, BW, DQ, VL.
// kAvx2 and kAvx512 give the same bits: both work on 16 lanes with fused multiply-add.
enum class Isa : uint8_t { kPortable, kAvx2, kAvx512 };

// The best one this machine and its operating system support.
Isa DetectIsa();

const char* IsaName(Isa isa);
// "portable", "avx2", "avx512"; nullopt for anything else.
std::optional<Isa> ParseIsa(std::string_view name);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_DEVICE_ISA_H_
