#include "loader/checkpoint/stored_tensor.h"

#include <vector>

#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

TEST(StoredTensorTest, DescribesItself) {
  StoredTensor tensor;
  tensor.dtype = StoredDType::kBf16;
  tensor.shape = {2, 3, 4};
  EXPECT_EQ(tensor.elements(), 24);
  EXPECT_EQ(tensor.Describe(), "[2, 3, 4] BF16");
  tensor.shape = {};
  EXPECT_EQ(tensor.elements(), 1);
  EXPECT_EQ(tensor.Describe(), "[] BF16");
}

TEST(StoredTensorTest, ListsEightSizesAtMost) {
  EXPECT_EQ(ShapeString(std::vector<int64_t>{1, 2, 3, 4, 5, 6, 7, 8}), "[1, 2, 3, 4, 5, 6, 7, 8]");
  EXPECT_EQ(ShapeString(std::vector<int64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9}),
            "[1, 2, 3, 4, 5, 6, 7, 8, ... 9 in all]");
}

TEST(StoredTensorTest, CountsElementsOrSaysTheyDoNotFit) {
  int64_t elements = -1;
  EXPECT_TRUE(CountElements({}, &elements));
  EXPECT_EQ(elements, 1);
  const auto count = [&](const std::vector<int64_t>& shape) {
    return CountElements(shape, &elements);
  };
  EXPECT_TRUE(count({3, 0, 5}));
  EXPECT_EQ(elements, 0);
  EXPECT_TRUE(count({int64_t{1} << 31, int64_t{1} << 31}));
  EXPECT_EQ(elements, int64_t{1} << 62);
  EXPECT_FALSE(count({int64_t{1} << 32, int64_t{1} << 32}));     // 0 modulo 2^64
  EXPECT_FALSE(count({0, int64_t{1} << 32, int64_t{1} << 32}));  // 0 exactly, but not its parts
  EXPECT_FALSE(count({2, -1}));
}

TEST(StoredDTypeTest, KnowsNamesAndSizes) {
  EXPECT_STREQ(StoredDTypeName(StoredDType::kBool), "BOOL");
  EXPECT_EQ(StoredDTypeBytes(StoredDType::kBf16), 2);
  EXPECT_EQ(StoredDTypeBytes(StoredDType::kI64), 8);
}

}  // namespace
}  // namespace mneme::loader
