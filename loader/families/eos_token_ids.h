// The tokens that end a text, as config.json and generation_config.json have them.
#ifndef MNEME_LOADER_FAMILIES_EOS_TOKEN_IDS_H_
#define MNEME_LOADER_FAMILIES_EOS_TOKEN_IDS_H_

#include <cstdint>
#include <vector>

#include "loader/families/config_fields.h"

namespace mneme::loader {

// Published models have one to three; each is compared with each token that is generated.
inline constexpr int64_t kMaxEosTokenIds = 64;

// The field eos_token_id, a number or a list of at most kMaxEosTokenIds, each from `least` to the
// largest int32. Empty when it is absent, null or wrong (recorded in `fields`).
std::vector<int64_t> ReadEosTokenIds(int64_t least, ConfigFields& fields);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_FAMILIES_EOS_TOKEN_IDS_H_
