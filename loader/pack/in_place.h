// Which weights may stay where their files are mapped.
#ifndef MNEME_LOADER_PACK_IN_PLACE_H_
#define MNEME_LOADER_PACK_IN_PLACE_H_

#include <cstdint>

#include "loader/checkpoint/checkpoint.h"
#include "loader/checkpoint/weight_source.h"
#include "loader/model/weight_role.h"
#include "loader/pack/matrix_packer.h"
#include "loader/pack/served_form.h"
#include "loader/pack/weight_slice.h"

namespace mneme::loader {

// Whether the part is stored as it is served, without gaps, and aligned.
bool InPlace(const WeightSource::Part& part, const Conversion& conversion);
// Whether the table is stored as it is served: rows of TableRowStride bytes, cache-line aligned,
// pre-values then values.
bool LiesInterleaved(const WeightSource& source, const Conversion& conversion);

// Whether PackedWeights::Pack takes no memory for the weight, or for what the slice keeps of it:
// it is read where it is mapped, as far as it is read. False where the checkpoint has no such
// weight.
bool StaysInPlace(const Checkpoint& checkpoint, const WeightId& id, const WeightSlice& slice,
                  const PackOptions& options);

// Whether the norms `id` of product keys are a part by themselves: where the keys are one, for
// kernels find both at the same rows.
bool NormsAreCut(const Checkpoint& checkpoint, const WeightId& id, const WeightSlice& slice,
                 const PackOptions& options);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_PACK_IN_PLACE_H_
