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

}  // namespace
}  // namespace mneme::loader
