// From a pair of ids to its merge: an open-addressing hash table.
#ifndef MNEME_LOADER_TOKENIZER_MERGE_TABLE_H_
#define MNEME_LOADER_TOKENIZER_MERGE_TABLE_H_

#include <bit>
#include <cstdint>
#include <vector>

namespace mneme::loader::tokenizer_internal {

struct Merge {
  static constexpr uint32_t kNoRank = UINT32_MAX;
  uint32_t rank = kNoRank;  // lower is merged first
  int32_t id = -1;          // of the merged token
};

class MergeTable {
 public:
  MergeTable() : MergeTable(0) {}
  // For at most `count` pairs.
  explicit MergeTable(size_t count)
      : slots_(std::bit_ceil(2 * count + 1)),
        shift_(64 - static_cast<int>(std::bit_width(slots_.size() - 1))) {}

  // A pair that is there already takes the new merge. Requires ids >= 0.
  void Set(int32_t left, int32_t right, Merge merge) {
    Slot& slot = slots_[Probe(Key(left, right))];
    slot.key = Key(left, right);
    slot.merge = merge;
  }

  // A merge without rank if there is none.
  Merge Find(int32_t left, int32_t right) const { return slots_[Probe(Key(left, right))].merge; }

 private:
  static constexpr uint64_t kEmpty = UINT64_MAX;
  struct Slot {
    uint64_t key = kEmpty;
    Merge merge;
  };

  static uint64_t Key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  // The slot of this key, or the empty one where it would go. Half of the slots stay empty.
  size_t Probe(uint64_t key) const {
    // Fibonacci hashing; a table of one slot must not shift by 64.
    size_t i = shift_ == 64 ? 0 : (key * 0x9E3779B97F4A7C15u) >> shift_;
    while (slots_[i].key != key && slots_[i].key != kEmpty) i = (i + 1) & (slots_.size() - 1);
    return i;
  }

  std::vector<Slot> slots_;
  int shift_;
};

}  // namespace mneme::loader::tokenizer_internal

#endif  // MNEME_LOADER_TOKENIZER_MERGE_TABLE_H_
