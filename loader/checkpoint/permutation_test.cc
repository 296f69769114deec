#include "loader/checkpoint/permutation.h"

#include <cstdint>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

// Counts the bytes that are given back.
class CountingFiles : public TensorFiles {
 public:
  const std::map<std::string, StoredTensor>& tensors() const override { return tensors_; }
  int64_t file_bytes() const override { return 0; }
  void DropPages(std::span<const uint8_t> part) const override { dropped += part.size(); }

  mutable size_t dropped = 0;

 private:
  std::map<std::string, StoredTensor> tensors_;
};

absl::Status Check(const std::vector<int64_t>& values, const TensorFiles& files = CountingFiles()) {
  StoredTensor tensor;
  tensor.name = "shuffle_index";
  tensor.file = "m.st";
  tensor.dtype = StoredDType::kI64;
  tensor.shape = {static_cast<int64_t>(values.size())};
  tensor.bytes = {reinterpret_cast<const uint8_t*>(values.data()), 8 * values.size()};
  return CheckPermutation(tensor, files);
}

TEST(PermutationTest, AcceptsPermutations) {
  EXPECT_TRUE(Check({}).ok());
  EXPECT_TRUE(Check({0}).ok());
  EXPECT_TRUE(Check({2, 0, 3, 1}).ok());
}

TEST(PermutationTest, RefusesEverythingElse) {
  EXPECT_EQ(Check({0, 4, 1, 2}).message(),
            "m.st: tensor \"shuffle_index\": element 1 is 4: not a permutation of 0 … 3");
  EXPECT_EQ(Check({0, -1}).message(),
            "m.st: tensor \"shuffle_index\": element 1 is -1: not a permutation of 0 … 1");
  EXPECT_EQ(Check({1, 0, 1}).message(),
            "m.st: tensor \"shuffle_index\": element 2 is 1, which is there twice: not a "
            "permutation of 0 … 2");
  // 2^32 + 1 would be 1 if it were cut to 32 bits.
  EXPECT_FALSE(Check({0, (int64_t{1} << 32) + 1}).ok());
}

TEST(PermutationTest, GivesAllPagesBack) {
  std::vector<int64_t> values((1 << 20) + 5);
  std::iota(values.rbegin(), values.rend(), 0);
  const CountingFiles files;
  EXPECT_TRUE(Check(values, files).ok());
  EXPECT_EQ(files.dropped, 8 * values.size());
  // Behind the first piece, too, an element is found.
  values.back() = 1;
  EXPECT_EQ(Check(values).message(),
            "m.st: tensor \"shuffle_index\": element 1048580 is 1, which is there twice: not a "
            "permutation of 0 … 1048580");
}

}  // namespace
}  // namespace mneme::loader
