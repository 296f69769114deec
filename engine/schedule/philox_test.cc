#include "engine/schedule/philox.h"

#include "gtest/gtest.h"

namespace mneme::schedule {
namespace {

// Known answers of the authors' Random123 library, file kat_vectors, philox4x32 with 10 rounds.
TEST(PhiloxTest, GivesTheAuthorsKnownAnswers) {
  EXPECT_EQ(Philox({0, 0, 0, 0}, {0, 0}),
            (PhiloxCounter{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}));
  EXPECT_EQ(Philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (PhiloxCounter{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}));
  EXPECT_EQ(
      Philox({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u}),
      (PhiloxCounter{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}));
}

TEST(PhiloxTest, UniformIsInTheUnitIntervalWithTheRightMean) {
  double sum = 0;
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i) {
    const double u = UniformAt(7, 3, static_cast<uint32_t>(i));
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
  }
  // The mean of n uniforms has standard deviation 1 / sqrt(12 n) = 0.0009; five of them are
  // allowed.
  EXPECT_NEAR(sum / kDraws, 0.5, 0.0046);
}

TEST(PhiloxTest, SeedChoiceAndPositionEachMatter) {
  const double u = UniformAt(1, 2, 3);
  EXPECT_EQ(u, UniformAt(1, 2, 3));
  EXPECT_NE(u, UniformAt(2, 2, 3));
  EXPECT_NE(u, UniformAt(uint64_t{1} | uint64_t{1} << 32, 2, 3));
  EXPECT_NE(u, UniformAt(1, 3, 3));
  EXPECT_NE(u, UniformAt(1, 2, 4));
}

}  // namespace
}  // namespace mneme::schedule
