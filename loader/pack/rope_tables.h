// The rotation tables of a model.
#ifndef MNEME_LOADER_PACK_ROPE_TABLES_H_
#define MNEME_LOADER_PACK_ROPE_TABLES_H_

#include <cstdint>

#include "loader/model/model_description.h"

namespace mneme::loader {

// Fills cos and sin, both [positions, head_dim / 2] float32 without gaps, as the model rotates
// queries and keys (kernels/rope).
void FillRope(const AttentionDescription& attention, int64_t positions, float* cos, float* sin);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_PACK_ROPE_TABLES_H_
