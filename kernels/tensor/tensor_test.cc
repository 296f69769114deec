#include "kernels/tensor/tensor.h"

#include <cmath>
#include <limits>

#include "gtest/gtest.h"

namespace mneme::kernels {
namespace {

TEST(Bf16Test, WideningThenRoundingGivesEveryBitPatternBack) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const Bf16 x{static_cast<uint16_t>(bits)};
    const float wide = ToFloat(x);
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(ToFloat(ToBf16(wide))));
    } else {
      EXPECT_EQ(ToBf16(wide).bits, x.bits);
    }
  }
}

TEST(Bf16Test, RoundsToNearestTiesToEven) {
  EXPECT_EQ(ToFloat(ToBf16(1.0f + 1.0f / 256)), 1.0f);               // tie, even below
  EXPECT_EQ(ToFloat(ToBf16(1.0f + 3.0f / 256)), 1.0f + 4.0f / 256);  // tie, even above
  EXPECT_EQ(ToFloat(ToBf16(1.0f + 1.1f / 256)), 1.0f + 2.0f / 256);
  EXPECT_EQ(ToFloat(ToBf16(std::numeric_limits<float>::max())),
            std::numeric_limits<float>::infinity());
}

TEST(MatrixTest, RowsOfAStridedViewStartAtTheStride) {
  float data[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  const Matrix<float> m{data, 3, 2, 4};
  EXPECT_EQ(m.row(2)[1], 9);
  const Matrix<float> tail = m.Rows(1, 2);
  EXPECT_EQ(tail.rows, 2);
  EXPECT_EQ(tail.row(0)[0], 4);
  const TensorView erased = MakeTensorView(m);
  EXPECT_EQ(erased.As<float>().row(1)[1], 5);
  EXPECT_EQ(erased.bytes(), 24);
}

TEST(TensorViewDeathTest, AsAnotherTypeTraps) {
  float data[2] = {0, 1};
  const TensorView view = MakeTensorView(MakeMatrix(data, 1, 2));
  EXPECT_DEATH(view.As<Bf16>(), "");
}

}  // namespace
}  // namespace mneme::kernels
