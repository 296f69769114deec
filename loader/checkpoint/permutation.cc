#include "loader/checkpoint/permutation.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "loader/text/text.h"

namespace mneme::loader {
namespace {

// Elements whose pages are given back at once: 8 MB.
constexpr size_t kPiece = size_t{1} << 20;

}  // namespace

absl::Status CheckPermutation(const StoredTensor& tensor, const TensorFiles& files) {
  const size_t count = tensor.bytes.size() / sizeof(int64_t);
  std::vector<bool> seen(count, false);
  for (size_t first = 0; first < count; first += kPiece) {
    const size_t end = std::min(first + kPiece, count);
    for (size_t i = first; i < end; ++i) {
      int64_t value = 0;
      std::memcpy(&value, tensor.bytes.data() + i * sizeof value, sizeof value);
      const bool inside = value >= 0 && static_cast<uint64_t>(value) < count;
      if (!inside || seen[static_cast<size_t>(value)]) {
        return absl::InvalidArgumentError(absl::StrCat(
            tensor.file, ": tensor ", Quote(tensor.name), ": element ", i, " is ", value,
            inside ? ", which is there twice: " : ": ", "not a permutation of 0 … ", count - 1));
      }
      seen[static_cast<size_t>(value)] = true;
    }
    files.DropPages(tensor.bytes.subspan(first * sizeof(int64_t), (end - first) * sizeof(int64_t)));
  }
  return absl::OkStatus();
}

}  // namespace mneme::loader
