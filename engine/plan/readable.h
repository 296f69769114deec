// Numbers for a person: three digits and a unit.
#ifndef MNEME_ENGINE_PLAN_READABLE_H_
#define MNEME_ENGINE_PLAN_READABLE_H_

#include <string>

namespace mneme::plan {

// "12.3 MB": powers of ten. REQUIRES: bytes >= 0.
std::string ReadableBytes(double bytes);

// "1.23 ms", "45.6 us", "7.89 s". REQUIRES: seconds >= 0.
std::string ReadableSeconds(double seconds);

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_READABLE_H_
