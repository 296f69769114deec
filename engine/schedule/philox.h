// Philox4x32-10: random numbers from a counter. The same key and counter always give the same four
// words, so a draw depends on what it is for and on nothing that happened before it.
// Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
#ifndef MNEME_ENGINE_SCHEDULE_PHILOX_H_
#define MNEME_ENGINE_SCHEDULE_PHILOX_H_

#include <array>
#include <cstdint>

namespace mneme::schedule {

using PhiloxCounter = std::array<uint32_t, 4>;
using PhiloxKey = std::array<uint32_t, 2>;

constexpr PhiloxCounter Philox(PhiloxCounter counter, PhiloxKey key) {
  constexpr uint32_t kMultiply0 = 0xD2511F53u;
  constexpr uint32_t kMultiply1 = 0xCD9E8D57u;
  constexpr uint32_t kWeyl0 = 0x9E3779B9u;
  constexpr uint32_t kWeyl1 = 0xBB67AE85u;
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{kMultiply0} * counter[0];
    const uint64_t p1 = uint64_t{kMultiply1} * counter[2];
    counter = {static_cast<uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(p0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

// A number in [0, 1) with 53 random bits for the token at `position` of choice `choice`.
constexpr double UniformAt(uint64_t seed, uint32_t choice, uint32_t position) {
  const PhiloxCounter words = Philox(
      {position, choice, 0, 0}, {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  const uint64_t bits = (uint64_t{words[0]} << 32 | words[1]) >> 11;
  return static_cast<double>(bits) * 0x1.0p-53;
}

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_PHILOX_H_
