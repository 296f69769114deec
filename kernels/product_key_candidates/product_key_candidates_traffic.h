// What a call moves, the same for every implementation. Private to this folder.
#ifndef MNEME_KERNELS_PRODUCT_KEY_CANDIDATES_PRODUCT_KEY_CANDIDATES_TRAFFIC_H_
#define MNEME_KERNELS_PRODUCT_KEY_CANDIDATES_PRODUCT_KEY_CANDIDATES_TRAFFIC_H_

#include "kernels/product_key_candidates/product_key_candidates.h"

namespace mneme::kernels {

Traffic ProductKeyCandidatesTraffic(const ProductKeyCandidatesArgs& args);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_PRODUCT_KEY_CANDIDATES_PRODUCT_KEY_CANDIDATES_TRAFFIC_H_
