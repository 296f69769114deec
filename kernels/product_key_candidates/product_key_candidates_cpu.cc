#include <algorithm>

#include "kernels/product_key_candidates/product_key_candidates.h"
#include "kernels/product_key_candidates/product_key_candidates_traffic.h"
#include "kernels/simd/simd.h"

namespace mneme::kernels {
namespace {

// Tokens whose dots with a key are taken together: the key's load and widening serve four.
constexpr int32_t kTokensAtOnce = 4;

// Keys that all tokens meet before the next ones are read: 256 keys of 512 dimensions, rank 2, bf16
// are 512 KiB, inside L2 beside the queries of a tile; taking a tile's queries and entries up again
// for each block then costs a few percent of the dots. A multiple of every tile of keys, so that
// the last tile of a block never writes past the block.
constexpr int32_t kKeysPerBlock = 256;

// Entries at most whose preselect scores are laid before a block's, to be ranked with them.
constexpr int32_t kCompetitors = 64;

constexpr int64_t RoundUp64(int64_t n) { return (n + 63) / 64 * 64; }

struct CandidateScratch {
  float* queries;       // [kTokensAtOnce, padded_dim]
  float* all_dots;      // [kTokensAtOnce, dots_stride]
  float* preselect;     // [kKeysPerBlock], behind room for the entries that compete
  float* weighted_sum;  // [kTokensAtOnce]
  float* bias;          // [kTokensAtOnce]
  uint8_t* all_kept;    // kTokensAtOnce lists
  int32_t padded_dim;
  int64_t dots_stride;
  int64_t kept_bytes;

  float* query(int32_t t) const { return queries + int64_t{t} * padded_dim; }
  float* dots(int32_t t) const { return all_dots + t * dots_stride; }
  void* kept(int32_t t) const { return all_kept + t * kept_bytes; }
};

// base: as large as ProductKeyCandidatesScratchBytes says, 64-byte aligned.
CandidateScratch CarveCandidateScratch(uint8_t* base, const ProductKeyCandidatesShape& shape) {
  CandidateScratch scratch;
  scratch.padded_dim = (shape.key_dim + 15) / 16 * 16;
  scratch.dots_stride = int64_t{kKeysPerBlock} * shape.rank;
  const int64_t kept_rank = shape.rank <= 2 ? shape.rank : 8;
  scratch.kept_bytes = RoundUp64(shape.top_k * (8 + 4 * kept_rank));
  const auto take = [&](int64_t bytes) {
    uint8_t* start = base;
    base += RoundUp64(bytes);
    return start;
  };
  const auto floats = [&](int64_t n) { return reinterpret_cast<float*>(take(n * 4)); };
  scratch.queries = floats(int64_t{kTokensAtOnce} * scratch.padded_dim);
  scratch.all_dots = floats(kTokensAtOnce * scratch.dots_stride);
  scratch.preselect = floats(kCompetitors + kKeysPerBlock) + kCompetitors;
  scratch.weighted_sum = floats(kTokensAtOnce);
  scratch.bias = floats(kTokensAtOnce);
  scratch.all_kept = take(kTokensAtOnce * scratch.kept_bytes);
  return scratch;
}

}  // namespace
}  // namespace mneme::kernels

#define MNEME_SIMD_BODY "kernels/product_key_candidates/product_key_candidates_simd.inl"
#include "kernels/simd/for_each_isa.inl"

namespace mneme::kernels {

int64_t ProductKeyCandidatesScratchBytes(int64_t /*tokens*/,
                                         const ProductKeyCandidatesShape& shape) {
  const int64_t padded_dim = (shape.key_dim + 15) / 16 * 16;
  const int64_t dots = int64_t{kKeysPerBlock} * shape.rank;
  const int64_t kept_rank = shape.rank <= 2 ? shape.rank : 8;
  return RoundUp64(kTokensAtOnce * padded_dim * 4) + RoundUp64(kTokensAtOnce * dots * 4) +
         RoundUp64((kCompetitors + kKeysPerBlock) * 4) + 2 * RoundUp64(kTokensAtOnce * 4) +
         kTokensAtOnce * RoundUp64(shape.top_k * (8 + 4 * kept_rank));
}

ProductKeyCandidatesFn ResolveProductKeyCandidates(DType keys, Isa isa) {
  switch (keys) {
    case DType::kF32:
      return MNEME_SIMD_SELECT(isa, ProductKeyCandidates<float>);
    case DType::kBf16:
      return MNEME_SIMD_SELECT(isa, ProductKeyCandidates<Bf16>);
    default:
      return nullptr;
  }
}

}  // namespace mneme::kernels
