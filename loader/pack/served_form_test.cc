#include "loader/pack/served_form.h"

#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

using kernels::DType;

TEST(ServedFormTest, MatricesKeepTheirDTypeUnlessToldOtherwise) {
  const auto is = [](StoredDType stored, PackOptions options, DType dtype, Rounding rounding) {
    const Conversion conversion = MatrixConversion(stored, options);
    return conversion.dtype == dtype && conversion.rounding == rounding;
  };
  const PackOptions round{.round_to_bf16 = true};
  const PackOptions widen{.widen_to_f32 = true};
  const PackOptions both{.round_to_bf16 = true, .widen_to_f32 = true};
  EXPECT_TRUE(is(StoredDType::kF32, {}, DType::kF32, Rounding::kExact));
  EXPECT_TRUE(is(StoredDType::kBf16, {}, DType::kBf16, Rounding::kExact));
  EXPECT_TRUE(is(StoredDType::kF32, round, DType::kBf16, Rounding::kBf16));
  EXPECT_TRUE(is(StoredDType::kBf16, round, DType::kBf16, Rounding::kExact));
  EXPECT_TRUE(is(StoredDType::kF32, widen, DType::kF32, Rounding::kExact));
  EXPECT_TRUE(is(StoredDType::kBf16, widen, DType::kF32, Rounding::kExact));
  EXPECT_TRUE(is(StoredDType::kF32, both, DType::kF32, Rounding::kBf16));
}

TEST(ServedFormTest, RolesAreSmallStackedOrNeither) {
  EXPECT_TRUE(IsSmall(Role::kFinalNormWeight));
  EXPECT_TRUE(IsSmall(Role::kMemoryCores));
  EXPECT_FALSE(IsSmall(Role::kQuery));
  EXPECT_FALSE(IsSmall(Role::kMemoryKeys));
  EXPECT_TRUE(IsStacked(Role::kExpertDown));
  EXPECT_FALSE(IsStacked(Role::kRouter));
}

TEST(ServedFormTest, TableRowsAreWholeCacheLines) {
  EXPECT_EQ(TableRowStride(48, DType::kF32), 192);
  EXPECT_EQ(TableRowStride(48, DType::kBf16), 128);
  EXPECT_EQ(TableRowStride(32, DType::kBf16), 64);
  EXPECT_EQ(TableRowStride(33, DType::kBf16), 128);
}

}  // namespace
}  // namespace mneme::loader
