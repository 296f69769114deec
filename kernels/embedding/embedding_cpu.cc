#include <cstring>

#include "kernels/embedding/embedding.h"
#include "kernels/simd/simd.h"

#define MNEME_SIMD_BODY "kernels/embedding/embedding_simd.inl"
#include "kernels/simd/for_each_isa.inl"

namespace mneme::kernels {

EmbeddingFn ResolveEmbedding(DType table, Isa isa) {
  if (table == DType::kF32) return MNEME_SIMD_SELECT(isa, Embedding<float>);
  return MNEME_SIMD_SELECT(isa, Embedding<Bf16>);
}

}  // namespace mneme::kernels
