#include "loader/pack/shuffle.h"

#include <cstdint>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

TEST(ShuffleTest, NarrowsAPermutation) {
  const std::vector<int64_t> values = {2, 0, 3, 1};
  StoredTensor tensor;
  tensor.dtype = StoredDType::kI64;
  tensor.bytes = {reinterpret_cast<const uint8_t*>(values.data()), 8 * values.size()};
  std::vector<int32_t> out(values.size(), -1);
  PackShuffle(tensor, out);
  EXPECT_EQ(out, (std::vector<int32_t>{2, 0, 3, 1}));
}

}  // namespace
}  // namespace mneme::loader
