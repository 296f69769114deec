// Where an exchanging actor finds its register in the other ranks' memory, and the blocks that it
// gives and takes.
#ifndef MNEME_ENGINE_RUNTIME_PEERS_H_
#define MNEME_ENGINE_RUNTIME_PEERS_H_

#include <cstdint>
#include <vector>

#include "engine/runtime/actor.h"
#include "engine/runtime/exchange.h"

namespace mneme::runtime {

class Peers {
 public:
  // blocks: that each rank gives another in a Swap. REQUIRES: the binding has an exchange, which
  // outlives this.
  explicit Peers(const ActorBinding& b, int32_t blocks = 1)
      : exchange_(*b.exchange),
        blocks_(blocks),
        given_(size_t{1} * blocks * exchange_.ranks()),
        taken_(given_.size()) {}

  int32_t ranks() const { return exchange_.ranks(); }
  int32_t rank() const { return exchange_.rank(); }

  // What `own`, an address in this rank's arena, is in the arena of another rank, as taken last.
  template <class T>
  const T* Of(int32_t other, const T* own) const {
    return reinterpret_cast<const T*>(exchange_.ArenaOf(other) + Offset(own));
  }

  // For the next Swap: columns [begin, end) of all rows.
  template <class T>
  void Give(int32_t to, const kernels::Matrix<T>& m, int64_t begin, int64_t end,
            int32_t block = 0) {
    given_[to * blocks_ + block] = Block(m.data, m.row_stride, m.rows, begin, end);
  }
  // stride: of the other rank's rows, in elements.
  template <class T>
  void Take(int32_t from, const kernels::Matrix<T>& m, int64_t stride, int64_t begin, int64_t end,
            int32_t block = 0) {
    taken_[from * blocks_ + block] = Block(m.data, stride, m.rows, begin, end);
  }
  bool Swap() { return exchange_.Swap(given_, taken_); }
  bool Settle() { return exchange_.Settle(); }

 private:
  template <class T>
  int64_t Offset(const T* own) const {
    return reinterpret_cast<const uint8_t*>(own) - exchange_.arena().data();
  }
  template <class T>
  ExchangeBlock Block(const T* data, int64_t stride, int64_t rows, int64_t begin,
                      int64_t end) const {
    constexpr int64_t kElement = sizeof(T);
    return {.offset = Offset(data) + begin * kElement,
            .rows = rows,
            .row_bytes = (end - begin) * kElement,
            .stride_bytes = stride * kElement};
  }

  Exchange& exchange_;
  const int32_t blocks_;
  std::vector<ExchangeBlock> given_;  // by rank, then block
  std::vector<ExchangeBlock> taken_;
};

}  // namespace mneme::runtime

#endif  // MNEME_ENGINE_RUNTIME_PEERS_H_
