#include <algorithm>
#include <limits>

#include "kernels/router/router.h"
#include "kernels/simd/simd.h"

namespace mneme::kernels {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();

// places[0, k) = the places of the k greatest of values[0, n), none of them NaN, descending, equal
// ones by ascending place. For what TopK of kernels/simd gives up: each place is found by a pass.
void TopKByPasses(const float* values, int32_t n, int32_t k, int32_t* places) {
  float last = -kLowest;
  int32_t last_place = -1;
  for (int32_t j = 0; j < k; ++j) {
    int32_t best = -1;
    for (int32_t i = 0; i < n; ++i) {
      const bool left = values[i] < last || (values[i] == last && i > last_place);
      if (left && (best < 0 || values[i] > values[best])) best = i;
    }
    places[j] = best;
    last = values[best];
    last_place = best;
  }
}

void SortAscending(int32_t* ids, int32_t count) {
  for (int32_t i = 1; i < count; ++i) {
    const int32_t id = ids[i];
    int32_t j = i;
    for (; j > 0 && ids[j - 1] > id; --j) ids[j] = ids[j - 1];
    ids[j] = id;
  }
}

}  // namespace
}  // namespace mneme::kernels

#define MNEME_SIMD_BODY "kernels/router/router_simd.inl"
#include "kernels/simd/for_each_isa.inl"

namespace mneme::kernels {

RouterFn ResolveRouter(Isa isa) { return MNEME_SIMD_SELECT(isa, Router); }

}  // namespace mneme::kernels
