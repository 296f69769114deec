#ifndef MNEME_ENGINE_GRAPH_ELEMENT_BYTES_H_
#define MNEME_ENGINE_GRAPH_ELEMENT_BYTES_H_

#include <cstdint>

#include "proto/mneme/v1/plan.pb.h"

namespace mneme {

// Of tensors and weights: float32 and int32 take four, bfloat16 two.
constexpr int64_t ElementBytes(v1::ElementType type) { return type == v1::BF16 ? 2 : 4; }

}  // namespace mneme

#endif  // MNEME_ENGINE_GRAPH_ELEMENT_BYTES_H_
