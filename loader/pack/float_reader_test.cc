#include "loader/pack/float_reader.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/tensor/tensor.h"

namespace mneme::loader {
namespace {

const std::vector<float> kValues = {1.0f, -2.5f, 3.14159265f, 1e-40f, 65504.0f, -0.0f};

TEST(FloatReaderTest, ReadsMisalignedFloats) {
  std::vector<uint8_t> bytes(1 + 4 * kValues.size());
  std::memcpy(bytes.data() + 1, kValues.data(), 4 * kValues.size());
  StoredTensor tensor;
  tensor.bytes = std::span(bytes).subspan(1);
  std::vector<float> out(3);
  ReadFloats(tensor, 2, Rounding::kExact, out);
  EXPECT_EQ(out, (std::vector<float>{kValues[2], kValues[3], kValues[4]}));
  ReadFloats(tensor, 2, Rounding::kBf16, out);
  EXPECT_EQ(out[0], kernels::ToFloat(kernels::ToBf16(kValues[2])));
  EXPECT_NE(out[0], kValues[2]);
}

TEST(FloatReaderTest, WidensMisalignedBf16) {
  std::vector<uint8_t> bytes(1 + 2 * kValues.size());
  for (size_t i = 0; i < kValues.size(); ++i) {
    const kernels::Bf16 half = kernels::ToBf16(kValues[i]);
    std::memcpy(bytes.data() + 1 + 2 * i, &half, 2);
  }
  StoredTensor tensor;
  tensor.dtype = StoredDType::kBf16;
  tensor.bytes = std::span(bytes).subspan(1);
  std::vector<float> out(4);
  ReadFloats(tensor, 1, Rounding::kExact, out);
  for (size_t i = 0; i < out.size(); ++i) {
    EXPECT_EQ(out[i], kernels::ToFloat(kernels::ToBf16(kValues[i + 1])));
  }
}

// All 65536 of them, against the definition.
TEST(FloatReaderTest, WidensMisalignedHalves) {
  std::vector<uint8_t> bytes(1 + 2 * 0x10000);
  for (uint32_t i = 0; i < 0x10000; ++i) {
    const auto half = static_cast<uint16_t>(i);
    std::memcpy(bytes.data() + 1 + 2 * i, &half, 2);
  }
  StoredTensor tensor;
  tensor.dtype = StoredDType::kF16;
  tensor.bytes = std::span(bytes).subspan(1);
  std::vector<float> exact(0x10000);
  std::vector<float> rounded(0x10000);
  ReadFloats(tensor, 0, Rounding::kExact, exact);
  ReadFloats(tensor, 0, Rounding::kBf16, rounded);
  for (int i = 0; i < 0x10000; ++i) {
    const int exponent = (i >> 10) & 31;
    const int fraction = i & 1023;
    const float sign = i < 0x8000 ? 1.0f : -1.0f;
    EXPECT_EQ(std::signbit(exact[i]), i >= 0x8000) << i;
    if (exponent == 31 && fraction != 0) {
      EXPECT_TRUE(std::isnan(exact[i]) && std::isnan(rounded[i])) << i;
      continue;
    }
    const double magnitude = exponent == 31  ? HUGE_VAL
                             : exponent == 0 ? std::ldexp(fraction, -24)
                                             : std::ldexp(1024 + fraction, exponent - 25);
    ASSERT_EQ(exact[i], sign * static_cast<float>(magnitude)) << i;
    ASSERT_EQ(rounded[i], kernels::ToFloat(kernels::ToBf16(exact[i]))) << i;
  }
}

}  // namespace
}  // namespace mneme::loader
