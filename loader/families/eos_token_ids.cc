#include "loader/families/eos_token_ids.h"

#include <limits>

#include "absl/strings/str_cat.h"

namespace mneme::loader {

std::vector<int64_t> ReadEosTokenIds(int64_t least, ConfigFields& fields) {
  constexpr char kName[] = "eos_token_id";
  std::vector<int64_t> ids = fields.IntOrList(kName, {least, std::numeric_limits<int32_t>::max()});
  if (static_cast<int64_t>(ids.size()) > kMaxEosTokenIds) {
    fields.Refuse(kName, absl::StrCat(ids.size(), " ids, at most ", kMaxEosTokenIds, " are read"));
  }
  if (!fields.status().ok()) return {};
  return ids;
}

}  // namespace mneme::loader
