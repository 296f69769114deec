#include "loader/pack/shuffle.h"

#include <cstdint>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

absl::Status Pack(const std::vector<int64_t>& values, std::vector<int32_t>* out) {
  StoredTensor tensor;
  tensor.name = "shuffle_index";
  tensor.file = "m.st";
  tensor.dtype = StoredDType::kI64;
  tensor.bytes = {reinterpret_cast<const uint8_t*>(values.data()), 8 * values.size()};
  out->assign(values.size(), -1);
  return PackShuffle(tensor, *out);
}

TEST(ShuffleTest, NarrowsAPermutation) {
  std::vector<int32_t> out;
  ASSERT_TRUE(Pack({2, 0, 3, 1}, &out).ok());
  EXPECT_EQ(out, (std::vector<int32_t>{2, 0, 3, 1}));
}

TEST(ShuffleTest, RefusesWhatIsNoPermutation) {
  std::vector<int32_t> out;
  EXPECT_EQ(Pack({0, 4, 1, 2}, &out).message(),
            "m.st: tensor \"shuffle_index\": element 1 is 4: not a permutation of 0 … 3");
  EXPECT_EQ(Pack({0, -1}, &out).message(),
            "m.st: tensor \"shuffle_index\": element 1 is -1: not a permutation of 0 … 1");
  EXPECT_EQ(Pack({1, 0, 1}, &out).message(),
            "m.st: tensor \"shuffle_index\": element 2 is 1, which is there twice: not a "
            "permutation of 0 … 2");
  // 2^32 + 1 would be 1 if it were cut to 32 bits.
  EXPECT_FALSE(Pack({0, (int64_t{1} << 32) + 1}, &out).ok());
}

}  // namespace
}  // namespace mneme::loader
