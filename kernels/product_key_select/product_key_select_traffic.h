// What a call moves, the same for every implementation. Private to this folder.
#ifndef MNEME_KERNELS_PRODUCT_KEY_SELECT_PRODUCT_KEY_SELECT_TRAFFIC_H_
#define MNEME_KERNELS_PRODUCT_KEY_SELECT_PRODUCT_KEY_SELECT_TRAFFIC_H_

#include "kernels/product_key_select/product_key_select.h"

namespace mneme::kernels {

Traffic ProductKeySelectTraffic(const ProductKeySelectArgs& args);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_PRODUCT_KEY_SELECT_PRODUCT_KEY_SELECT_TRAFFIC_H_
