#include "kernels/product_key_select/product_key_select.h"
#include "kernels/product_key_select/product_key_select_traffic.h"
#include "kernels/simd/simd.h"

namespace mneme::kernels {
namespace {

constexpr int64_t RoundUp64(int64_t n) { return (n + 63) / 64 * 64; }
constexpr int32_t Padded(int32_t top_k) { return (top_k + 15) / 16 * 16; }

// One token and head.
struct SelectScratch {
  int32_t padded;  // top_k rounded up to 16
  float* split;    // [rank, padded]: S1 by rank
  float* columns;  // [rank, padded]: S2 by rank
  float* rows;     // [cores, rank, padded]: S1 times the cores
  void* kept;      // [top_k] of {float, int32_t}
};

SelectScratch CarveSelectScratch(const ProductKeySelectArgs& args) {
  SelectScratch scratch;
  scratch.padded = Padded(args.top_k);
  scratch.split = reinterpret_cast<float*>(args.scratch);
  scratch.columns = scratch.split + int64_t{args.rank} * scratch.padded;
  scratch.rows = scratch.columns + int64_t{args.rank} * scratch.padded;
  scratch.kept = scratch.rows + int64_t{args.cores} * args.rank * scratch.padded;
  return scratch;
}

}  // namespace
}  // namespace mneme::kernels

#define MNEME_SIMD_BODY "kernels/product_key_select/product_key_select_simd.inl"
#include "kernels/simd/for_each_isa.inl"

namespace mneme::kernels {

int64_t ProductKeySelectScratchBytes(int32_t top_k, int32_t rank, int32_t cores) {
  return RoundUp64((int64_t{2} + cores) * rank * Padded(top_k) * 4 + int64_t{top_k} * 8);
}

ProductKeySelectFn ResolveProductKeySelect(Isa isa) {
  return MNEME_SIMD_SELECT(isa, ProductKeySelect);
}

}  // namespace mneme::kernels
