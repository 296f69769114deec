// What the norm of product keys needs of each key, computed once at load.
//
// A key is K values for each of r Tucker ranks, stored [K, r]. For rank ρ:
//   mean = Σ_κ key[κ, ρ] / K                        (LayerNorm; 0 for rms)
//   inverse = 1 / sqrt(Σ_κ (key[κ, ρ] - mean)² / K + eps)
// so that a score with the normed key is (q · key - mean · Σ q) · inverse, the norm's weight and
// bias being folded into q. Sums are in double, results float32. Definition: docs/models.md,
// §2 Memory layers.
#ifndef MNEME_LOADER_PACK_KEY_NORMS_H_
#define MNEME_LOADER_PACK_KEY_NORMS_H_

#include <cstdint>
#include <span>

#include "loader/checkpoint/stored_tensor.h"
#include "loader/model/model_description.h"
#include "loader/pack/float_reader.h"

namespace mneme::loader {

struct KeyShape {
  int64_t keys = 0;  // heads * 2 * key_count
  int64_t key_dim = 0;
  int64_t rank = 1;
};

// inverse, mean: [keys, rank] float32; either may be empty, then it is not written.
// REQUIRES: tensor holds shape.keys * key_dim * rank elements of dtype F32, BF16 or F16.
void ComputeKeyNorms(const StoredTensor& tensor, const KeyShape& shape, const NormDescription& norm,
                     Rounding rounding, std::span<float> inverse, std::span<float> mean);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_PACK_KEY_NORMS_H_
