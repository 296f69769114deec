// How a weight is served, and whether it may stay where its files are mapped.
#ifndef MNEME_LOADER_PACK_SERVED_FORM_H_
#define MNEME_LOADER_PACK_SERVED_FORM_H_

#include <cstdint>

#include "loader/checkpoint/checkpoint.h"
#include "loader/checkpoint/weight_source.h"
#include "loader/model/weight_role.h"
#include "loader/pack/matrix_packer.h"
#include "loader/pack/pack_options.h"
#include "loader/pack/weight_slice.h"

namespace mneme::loader {

// Roles that are float32 whatever the checkpoint holds: norms, biases, directions, cores.
bool IsSmall(Role role);
// The experts' matrices.
bool IsStacked(Role role);

// What a matrix, key or table of this stored dtype is served as.
Conversion MatrixConversion(StoredDType stored, const PackOptions& options);

// Bytes from a row of an interleaved table to the next: a multiple of a cache line.
int64_t TableStride(int64_t pre_width, int64_t width, kernels::DType dtype);

// Whether the part is stored as it is served, without gaps, and aligned.
bool InPlace(const WeightSource::Part& part, const Conversion& conversion);
// Whether the table is stored as it is served: rows of TableStride bytes, cache-line aligned,
// pre-values then values.
bool LiesInterleaved(const WeightSource& source, const Conversion& conversion);

// Whether PackedWeights::Pack takes no memory for the weight, or for what the slice keeps of it:
// it is read where it is mapped, as far as it is read. False where the checkpoint has no such
// weight.
bool StaysInPlace(const Checkpoint& checkpoint, const WeightId& id, const WeightSlice& slice,
                  const PackOptions& options);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_PACK_SERVED_FORM_H_
