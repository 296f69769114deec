#include "kernels/device/isa.h"

#include "gtest/gtest.h"

namespace mneme::kernels {
namespace {

TEST(IsaTest, NamesParseBack) {
  for (Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
    EXPECT_EQ(ParseIsa(IsaName(isa)), isa);
  }
  EXPECT_EQ(ParseIsa("avx"), std::nullopt);
  EXPECT_EQ(ParseIsa(""), std::nullopt);
}

TEST(IsaTest, DetectionIsStable) { EXPECT_EQ(DetectIsa(), DetectIsa()); }

}  // namespace
}  // namespace mneme::kernels
