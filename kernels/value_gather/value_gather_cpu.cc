#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/simd/simd.h"
#include "kernels/value_gather/value_gather.h"
#include "kernels/value_gather/value_gather_traffic.h"

namespace mneme::kernels {
namespace {

// A use of a row: the slot in the upper half, token * selections + selection in the lower, so that
// ascending keys are ascending (slot, token, selection).
constexpr uint64_t UseKey(uint32_t slot, uint32_t number) {
  return static_cast<uint64_t>(slot) << 32 | number;
}
constexpr uint32_t UseSlot(uint64_t key) { return static_cast<uint32_t>(key >> 32); }
constexpr uint32_t UseNumber(uint64_t key) { return static_cast<uint32_t>(key); }

// Rows asked for before the current one. 4 to 32 measured alike with rows of 384 B and 2 KiB; eight
// rows of 2 KiB fit L1 beside what else the gather touches.
constexpr int64_t kRowsAhead = 8;

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

// The call's uses in ascending order, in scratch. Numbers are ascending as written, so stable
// passes over the slot's digits suffice.
const uint64_t* SortUses(const ValueGatherArgs& args) {
  const int64_t selections = args.slot.cols;
  const int64_t uses = args.slot.rows * selections;
  uint64_t* keys = reinterpret_cast<uint64_t*>(args.scratch);
  uint32_t all_bits = 0;
  for (int64_t t = 0; t < args.slot.rows; ++t) {
    const int32_t* slot = args.slot.row(t);
    for (int64_t s = 0; s < selections; ++s) {
      const int64_t number = t * selections + s;
      keys[number] = UseKey(static_cast<uint32_t>(slot[s]), static_cast<uint32_t>(number));
      all_bits |= static_cast<uint32_t>(slot[s]);
    }
  }
  if (uses <= kInsertionUses) {
    InsertionSort(keys, uses);
    return keys;
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
  return keys;
}

// The distinct rows of the sorted uses; the bytes of each are divided among the distinct tokens
// that use it.
int64_t ShareRows(const ValueGatherArgs& args, const uint64_t* sorted, int64_t uses) {
  const uint32_t selections = static_cast<uint32_t>(args.slot.cols);
  const auto token = [&](int64_t i) { return UseNumber(sorted[i]) / selections; };
  const double row_bytes = static_cast<double>(args.table.row_bytes());
  const bool one_token = args.slot.rows == 1;
  int64_t distinct = 0;
  for (int64_t begin = 0, end = 0; begin < uses; begin = end, ++distinct) {
    for (end = begin + 1; end < uses && UseSlot(sorted[end]) == UseSlot(sorted[begin]);) ++end;
    if (args.token_bytes == nullptr || one_token) continue;
    int64_t users = 1;
    for (int64_t i = begin + 1; i < end; ++i) users += token(i) != token(i - 1);
    const double share = row_bytes / static_cast<double>(users);
    for (int64_t i = begin; i < end; ++i) {
      if (i == begin || token(i) != token(i - 1)) args.token_bytes[token(i)] += share;
    }
  }
  if (args.token_bytes != nullptr && one_token) {
    args.token_bytes[0] += row_bytes * static_cast<double>(distinct);
  }
  return distinct;
}

}  // namespace
}  // namespace mneme::kernels

#define MNEME_SIMD_BODY "kernels/value_gather/value_gather_simd.inl"
#include "kernels/simd/for_each_isa.inl"

namespace mneme::kernels {

int64_t ValueGatherScratchBytes(int64_t tokens, int32_t selections) {
  return 2 * RoundUp64(tokens * selections * 8) + kCounterBytes;
}

ValueGatherFn ResolveValueGather(DType table, Isa isa) {
  switch (table) {
    case DType::kF32:
      return MNEME_SIMD_SELECT(isa, ValueGather<float>);
    case DType::kBf16:
      return MNEME_SIMD_SELECT(isa, ValueGather<Bf16>);
    default:
      return nullptr;
  }
}

Traffic ValuePrefetch(const ValuePrefetchArgs& args) {
  const int64_t row_bytes = args.table.row_bytes();
  int64_t left = kValuePrefetchBytes;
  for (int64_t t = 0; t < args.slot.rows; ++t) {
    for (int64_t s = 0; s < args.slot.cols; ++s) {
      const uint8_t* row = args.table.row(args.slot.row(t)[s]);
      for (int64_t i = 0; i < row_bytes; i += 64) __builtin_prefetch(row + i, 0, 2);
      left -= row_bytes;
      if (left <= 0) return Traffic();
    }
  }
  return Traffic();
}

}  // namespace mneme::kernels
