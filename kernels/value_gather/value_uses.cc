#include "kernels/value_gather/value_uses.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace mneme::kernels {
namespace {

// Few uses (one token's) are sorted by insertion, which needs no counters to clear; wide digits pay
// for their counters only with many uses.
constexpr int64_t kInsertionUses = 64;
constexpr int64_t kNarrowDigitUses = 4096;
constexpr int32_t kWideDigitBits = 12;
constexpr int32_t kNarrowDigitBits = 8;
constexpr int64_t kCounterBytes = int64_t{4} << kWideDigitBits;

constexpr int64_t RoundUp64(int64_t n) { return (n + 63) / 64 * 64; }

void InsertionSort(uint64_t* keys, int64_t count) {
  for (int64_t i = 1; i < count; ++i) {
    const uint64_t key = keys[i];
    int64_t j = i;
    for (; j > 0 && keys[j - 1] > key; --j) keys[j] = keys[j - 1];
    keys[j] = key;
  }
}

// One stable pass by the digit [shift, shift + bits) of the keys.
void RadixPass(const uint64_t* from, uint64_t* to, int64_t count, int32_t shift, int32_t bits,
               uint32_t* counters) {
  const uint64_t mask = (uint64_t{1} << bits) - 1;
  std::memset(counters, 0, sizeof(uint32_t) << bits);
  for (int64_t i = 0; i < count; ++i) ++counters[from[i] >> shift & mask];
  uint32_t start = 0;
  for (uint64_t digit = 0; digit <= mask; ++digit) {
    const uint32_t here = counters[digit];
    counters[digit] = start;
    start += here;
  }
  for (int64_t i = 0; i < count; ++i) to[counters[from[i] >> shift & mask]++] = from[i];
}

}  // namespace

int64_t ValueUsesScratchBytes(int64_t tokens, int32_t selections) {
  return 2 * RoundUp64(tokens * selections * 8) + kCounterBytes;
}

// Numbers are ascending as written, so stable passes over the row's digits suffice.
std::span<const uint64_t> SortUses(Matrix<const int32_t> slot, const RowShare& share,
                                   uint8_t* scratch) {
  const int64_t selections = slot.cols;
  const bool divided = share.ranks > 1;
  uint64_t* keys = reinterpret_cast<uint64_t*>(scratch);
  int64_t uses = 0;
  uint32_t all_bits = 0;
  for (int64_t t = 0; t < slot.rows; ++t) {
    const int32_t* slots = slot.row(t);
    for (int64_t s = 0; s < selections; ++s) {
      auto row = static_cast<uint32_t>(slots[s]);
      if (divided) {
        if (!share.Has(slots[s])) continue;
        row = static_cast<uint32_t>(share.InMemory(slots[s]));
      }
      keys[uses++] = UseKey(row, static_cast<uint32_t>(t * selections + s));
      all_bits |= row;
    }
  }
  const auto count = static_cast<size_t>(uses);
  if (uses <= kInsertionUses) {
    InsertionSort(keys, uses);
    return {keys, count};
  }
  uint64_t* other = keys + RoundUp64(uses * 8) / 8;
  uint32_t* counters = reinterpret_cast<uint32_t*>(other + RoundUp64(uses * 8) / 8);
  const int32_t slot_bits = std::bit_width(all_bits);
  const int32_t widest = uses < kNarrowDigitUses ? kNarrowDigitBits : kWideDigitBits;
  const int32_t passes = (slot_bits + widest - 1) / widest;
  for (int32_t pass = 0, done = 0; pass < passes; ++pass) {
    const int32_t bits = (slot_bits - done + passes - pass - 1) / (passes - pass);
    RadixPass(keys, other, uses, 32 + done, bits, counters);
    std::swap(keys, other);
    done += bits;
  }
  return {keys, count};
}

int64_t ShareRows(std::span<const uint64_t> sorted, Matrix<const int32_t> slot, int64_t row_bytes,
                  double* token_bytes) {
  const auto selections = static_cast<uint32_t>(slot.cols);
  const auto uses = static_cast<int64_t>(sorted.size());
  const auto token = [&](int64_t i) { return UseNumber(sorted[i]) / selections; };
  const auto bytes = static_cast<double>(row_bytes);
  const bool one_token = slot.rows == 1;
  int64_t distinct = 0;
  for (int64_t begin = 0, end = 0; begin < uses; begin = end, ++distinct) {
    for (end = begin + 1; end < uses && UseRow(sorted[end]) == UseRow(sorted[begin]);) ++end;
    if (token_bytes == nullptr || one_token) continue;
    int64_t users = 1;
    for (int64_t i = begin + 1; i < end; ++i) users += token(i) != token(i - 1);
    const double share = bytes / static_cast<double>(users);
    for (int64_t i = begin; i < end; ++i) {
      if (i == begin || token(i) != token(i - 1)) token_bytes[token(i)] += share;
    }
  }
  if (token_bytes != nullptr && one_token) {
    token_bytes[0] += bytes * static_cast<double>(distinct);
  }
  return distinct;
}

}  // namespace mneme::kernels
