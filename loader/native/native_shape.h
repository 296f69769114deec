// The shape that a weight has in native files.
#ifndef MNEME_LOADER_NATIVE_NATIVE_SHAPE_H_
#define MNEME_LOADER_NATIVE_NATIVE_SHAPE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "loader/checkpoint/weight_source.h"
#include "loader/model/model_description.h"
#include "loader/native/manifest.h"
#include "loader/pack/served_form.h"

namespace mneme::loader {

// Name, packing, dtype and sizes, without tensors, as PackedWeights would serve the weight; blocks
// so that files of at most shard_bytes can hold them. INVALID_ARGUMENT naming the weight when its
// parts do not fit together.
absl::StatusOr<ManifestWeight> NativeShape(const WeightId& id, const WeightSource& source,
                                           const ModelDescription& model,
                                           const PackOptions& options, int64_t shard_bytes);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_NATIVE_NATIVE_SHAPE_H_
