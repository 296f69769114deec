#include "loader/families/tensor_matcher.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "loader/checkpoint/permutation.h"
#include "loader/text/text.h"

namespace mneme::loader {
namespace {

// Names listed when tensors are extra.
constexpr int kListed = 3;

}  // namespace

TensorMatcher::TensorMatcher(const TensorFiles& files, std::string where)
    : files_(files), where_(std::move(where)) {}

void TensorMatcher::Refuse(const std::string& tensor, const std::string& why) {
  if (!status_.ok()) return;
  const auto it = files_.tensors().find(tensor);
  const std::string& file = it == files_.tensors().end() ? where_ : it->second.file;
  status_ = absl::InvalidArgumentError(absl::StrCat(file, ": tensor ", Quote(tensor), ": ", why));
}

const StoredTensor* TensorMatcher::Find(const std::string& name,
                                        const std::vector<int64_t>& shape) {
  if (!status_.ok()) return nullptr;
  const auto it = files_.tensors().find(name);
  if (it == files_.tensors().end()) {
    Refuse(name, absl::StrCat("is missing; expected ", ShapeString(shape)));
    return nullptr;
  }
  if (it->second.shape != shape) {
    Refuse(name,
           absl::StrCat("expected ", ShapeString(shape), ", file has ", it->second.Describe()));
    return nullptr;
  }
  taken_.insert(&it->second);
  return &it->second;
}

const StoredTensor* TensorMatcher::Take(const std::string& name,
                                        const std::vector<int64_t>& shape) {
  const StoredTensor* tensor = Find(name, shape);
  if (tensor == nullptr) return nullptr;
  constexpr StoredDType kServed[] = {StoredDType::kF32, StoredDType::kBf16, StoredDType::kF16};
  if (std::find(std::begin(kServed), std::end(kServed), tensor->dtype) == std::end(kServed)) {
    Refuse(name, absl::StrCat("dtype ", StoredDTypeName(tensor->dtype),
                              " is not served; served are F32, BF16 and F16"));
    return nullptr;
  }
  return tensor;
}

const StoredTensor* TensorMatcher::TakePermutation(const std::string& name, int64_t size) {
  const StoredTensor* tensor = Find(name, {size});
  if (tensor == nullptr) return nullptr;
  if (tensor->dtype != StoredDType::kI64) {
    Refuse(name, absl::StrCat("expected dtype I64, file has ", StoredDTypeName(tensor->dtype)));
    return nullptr;
  }
  status_ = CheckPermutation(*tensor, files_);
  if (!status_.ok()) return nullptr;
  return tensor;
}

void TensorMatcher::Add(WeightId id, const StoredTensor* tensor, int64_t cols) {
  if (tensor == nullptr) return;
  AddRows(id, tensor, 0, cols == 0 ? 0 : tensor->elements() / cols, cols);
}

void TensorMatcher::AddRows(WeightId id, const StoredTensor* tensor, int64_t first, int64_t rows,
                            int64_t cols) {
  if (tensor == nullptr) return;
  weights_[id].parts.push_back(WeightSource::Part{tensor, first, rows, cols});
}

void TensorMatcher::AddComputed(WeightId id) { weights_[id]; }

void TensorMatcher::IgnoreEnding(const std::string& ending) {
  for (const auto& [name, tensor] : files_.tensors()) {
    if (name.ends_with(ending)) taken_.insert(&tensor);
  }
}

absl::Status TensorMatcher::Finish() {
  if (!status_.ok()) return status_;
  std::string listed;
  int64_t extra = 0;
  std::string file;
  for (const auto& [name, tensor] : files_.tensors()) {
    if (taken_.count(&tensor) != 0) continue;
    if (extra < kListed) {
      absl::StrAppend(&listed, extra == 0 ? "" : ", ", Quote(name), " ", tensor.Describe());
    }
    if (extra == 0) file = tensor.file;
    ++extra;
  }
  if (extra > 0) {
    status_ = absl::InvalidArgumentError(
        absl::StrCat(file, ": ", extra, " tensor", extra == 1 ? "" : "s",
                     " that this model does not have: ", listed, extra > kListed ? ", …" : ""));
  }
  return status_;
}

}  // namespace mneme::loader
