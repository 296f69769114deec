// What an actor that reads other ranks' registers needs: where a register of its own rank lies in
// another one's memory.
#ifndef MNEME_ENGINE_RUNTIME_PEERS_H_
#define MNEME_ENGINE_RUNTIME_PEERS_H_

#include <cstdint>

#include "engine/runtime/actor.h"
#include "engine/runtime/exchange.h"

namespace mneme::runtime {

class Peers {
 public:
  // REQUIRES: the binding has an exchange, which outlives this.
  explicit Peers(const ActorBinding& b) : exchange_(*b.exchange), rank_(b.rank) {}

  int32_t ranks() const { return exchange_.ranks(); }
  int32_t rank() const { return rank_; }
  Exchange& exchange() const { return exchange_; }
  // Where `own`, in a register of this rank, lies in the memory of `other`.
  template <class T>
  const T* Of(int32_t other, const T* own) const {
    const auto offset = reinterpret_cast<const uint8_t*>(own) - exchange_.arena(rank_);
    return reinterpret_cast<const T*>(exchange_.arena(other) + offset);
  }

 private:
  Exchange& exchange_;
  const int32_t rank_;
};

}  // namespace mneme::runtime

#endif  // MNEME_ENGINE_RUNTIME_PEERS_H_
