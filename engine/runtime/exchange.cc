#include "engine/runtime/exchange.h"

#include "engine/runtime/futex.h"
#include "engine/runtime/spin.h"

namespace mneme::runtime {

Exchange::Exchange(int32_t ranks, std::chrono::microseconds spin)
    : ranks_(ranks), spin_(spin), places_(std::make_unique<Place[]>(ranks)) {}

void Exchange::Arrive(int32_t rank) {
  Place& own = places_[rank];
  own.arrivals.fetch_add(1, std::memory_order_seq_cst);
  if (own.sleepers.load(std::memory_order_seq_cst) != 0) FutexWake(&own.arrivals);
}

void Exchange::AwaitAll(int32_t rank) {
  const uint32_t meeting = places_[rank].arrivals.load(std::memory_order_relaxed);
  for (int32_t other = 0; other < ranks_; ++other) {
    Place& place = places_[other];
    // Counts wrap; no rank is 2^31 meetings ahead.
    const auto arrived = [&](uint32_t arrivals) {
      return static_cast<int32_t>(arrivals - meeting) >= 0;
    };
    if (other == rank ||
        SpinUntil(spin_, [&] { return arrived(place.arrivals.load(std::memory_order_seq_cst)); })) {
      continue;
    }
    // Announced before the last look: an arrival after it wakes us, one before it is seen.
    place.sleepers.fetch_add(1, std::memory_order_seq_cst);
    for (uint32_t seen = place.arrivals.load(std::memory_order_seq_cst); !arrived(seen);
         seen = place.arrivals.load(std::memory_order_seq_cst)) {
      FutexWait(&place.arrivals, seen);
    }
    place.sleepers.fetch_sub(1, std::memory_order_seq_cst);
  }
}

}  // namespace mneme::runtime
