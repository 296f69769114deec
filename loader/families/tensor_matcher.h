// Matches the tensors a family expects with those a checkpoint has: each is taken once, with its
// shape and dtype checked, and what nobody takes is refused. The first thing wrong is kept; after
// it Take returns nullptr and the rest does nothing.
#ifndef MNEME_LOADER_FAMILIES_TENSOR_MATCHER_H_
#define MNEME_LOADER_FAMILIES_TENSOR_MATCHER_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "loader/checkpoint/stored_tensor.h"
#include "loader/checkpoint/weight_source.h"
#include "loader/model/weight_role.h"

namespace mneme::loader {

class TensorMatcher {
 public:
  // `where` names the checkpoint's file or folder in messages. `files` must outlive the matcher.
  TensorMatcher(const TensorFiles& files, std::string where);

  // The tensor `name`, which must be F32, BF16 or F16 of this shape.
  const StoredTensor* Take(const std::string& name, const std::vector<int64_t>& shape);
  // The tensor `name`, which must be I64, and a permutation of 0 … size - 1.
  const StoredTensor* TakePermutation(const std::string& name, int64_t size);

  // Adds `tensor`, seen as rows of `cols` elements, or rows [first, first + rows) of it, as a part
  // of weight `id`. Nothing happens when tensor is nullptr.
  void Add(WeightId id, const StoredTensor* tensor, int64_t cols);
  void AddRows(WeightId id, const StoredTensor* tensor, int64_t first, int64_t rows, int64_t cols);
  // A weight that is computed from no tensor.
  void AddComputed(WeightId id);

  // Tensors with such names need not be taken.
  void IgnoreEnding(const std::string& ending);

  // Records an error of a tensor unless there is one already.
  void Refuse(const std::string& tensor, const std::string& why);
  bool ok() const { return status_.ok(); }

  // Refuses tensors that were not taken, then returns the first error or the weights.
  absl::Status Finish();
  WeightSources& weights() { return weights_; }

 private:
  const StoredTensor* Find(const std::string& name, const std::vector<int64_t>& shape);

  const TensorFiles& files_;
  std::string where_;
  std::set<const StoredTensor*> taken_;
  WeightSources weights_;
  absl::Status status_;
};

}  // namespace mneme::loader

#endif  // MNEME_LOADER_FAMILIES_TENSOR_MATCHER_H_
