#include <cstring>

#include "kernels/simd/simd.h"
#include "kernels/value_gather/value_gather.h"
#include "kernels/value_gather/value_gather_traffic.h"
#include "kernels/value_gather/value_uses.h"

namespace mneme::kernels {
namespace {

// Rows asked for before the current one. 4 to 32 measured alike with rows of 384 B and 2 KiB; eight
// rows of 2 KiB fit L1 beside what else the gather touches.
constexpr int64_t kRowsAhead = 8;

// Every cache line of [from, from + bytes), of which the first may begin before it.
inline void PrefetchBytes(const uint8_t* from, int64_t bytes) {
  const uint8_t* end = from + bytes;
  for (const uint8_t* line = from - reinterpret_cast<uintptr_t>(from) % 64; line < end;
       line += 64) {
    __builtin_prefetch(line, 0, 2);
  }
}

}  // namespace
}  // namespace mneme::kernels

#define MNEME_SIMD_BODY "kernels/value_gather/value_gather_simd.inl"
#include "kernels/simd/for_each_isa.inl"

namespace mneme::kernels {

int64_t ValueGatherScratchBytes(int64_t tokens, int32_t selections) {
  return ValueUsesScratchBytes(tokens, selections);
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
  const ValueTable& table = args.table;
  const int64_t element = DTypeBytes(table.dtype);
  const int64_t row_bytes = table.row_bytes();
  const bool one_piece = table.pre_width == 0 || table.width == 0 ||
                         table.value_start() == int64_t{table.pre_offset} + table.pre_width;
  const int64_t start = (table.pre_width == 0 ? table.value_start() : table.pre_offset) * element;
  int64_t left = kValuePrefetchBytes;
  for (int64_t t = 0; t < args.slot.rows; ++t) {
    for (int64_t s = 0; s < args.slot.cols; ++s) {
      const int64_t slot = args.slot.row(t)[s];
      if (!args.share.Has(slot)) continue;
      const uint8_t* row = table.row(args.share.InMemory(slot));
      if (one_piece) {
        PrefetchBytes(row + start, row_bytes);
      } else {
        PrefetchBytes(row + start, table.pre_width * element);
        PrefetchBytes(row + table.value_start() * element, table.width * element);
      }
      left -= row_bytes;
      if (left <= 0) return Traffic();
    }
  }
  return Traffic();
}

}  // namespace mneme::kernels
