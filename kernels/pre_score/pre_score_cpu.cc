#include "kernels/pre_score/pre_score.h"
#include "kernels/simd/simd.h"
#include "kernels/value_gather/value_uses.h"

namespace mneme::kernels {
namespace {

// Rows asked for before the current one: as the gather does.
constexpr int64_t kRowsAhead = 8;

}  // namespace
}  // namespace mneme::kernels

#define MNEME_SIMD_BODY "kernels/pre_score/pre_score_simd.inl"
#include "kernels/simd/for_each_isa.inl"

namespace mneme::kernels {

int64_t PreScoreScratchBytes(int64_t tokens, int32_t selections) {
  return ValueUsesScratchBytes(tokens, selections);
}

PreScoreFn ResolvePreScore(DType table, Isa isa) {
  switch (table) {
    case DType::kF32:
      return MNEME_SIMD_SELECT(isa, PreScores<float>);
    case DType::kBf16:
      return MNEME_SIMD_SELECT(isa, PreScores<Bf16>);
    default:
      return nullptr;
  }
}

}  // namespace mneme::kernels
