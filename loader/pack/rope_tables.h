// The rotation tables of a model.
#ifndef MNEME_LOADER_PACK_ROPE_TABLES_H_
#define MNEME_LOADER_PACK_ROPE_TABLES_H_

#include "kernels/rope/rope.h"
#include "loader/model/model_description.h"

namespace mneme::loader {

// Fills cos and sin, both [positions.count, head_dim / 2] float32 without gaps, as the model
// rotates queries and keys at these positions (kernels/rope).
void FillRope(const AttentionDescription& attention, kernels::RopePositions positions, float* cos,
              float* sin);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_PACK_ROPE_TABLES_H_
