#include "loader/pack/shuffle.h"

#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "loader/text/text.h"

namespace mneme::loader {

absl::Status PackShuffle(const StoredTensor& tensor, std::span<int32_t> out) {
  std::vector<bool> seen(out.size(), false);
  for (size_t i = 0; i < out.size(); ++i) {
    int64_t value = 0;
    std::memcpy(&value, tensor.bytes.data() + i * sizeof value, sizeof value);
    const bool inside = value >= 0 && value < static_cast<int64_t>(out.size());
    if (!inside || seen[static_cast<size_t>(value)]) {
      return absl::InvalidArgumentError(absl::StrCat(
          tensor.file, ": tensor ", Quote(tensor.name), ": element ", i, " is ", value,
          inside ? ", which is there twice: " : ": ", "not a permutation of 0 … ", out.size() - 1));
    }
    seen[static_cast<size_t>(value)] = true;
    out[i] = static_cast<int32_t>(value);
  }
  return absl::OkStatus();
}

}  // namespace mneme::loader
