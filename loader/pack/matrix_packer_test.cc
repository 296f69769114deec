#include "loader/pack/matrix_packer.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

// Counts what is given back.
class CountingFiles : public TensorFiles {
 public:
  const std::map<std::string, StoredTensor>& tensors() const override { return tensors_; }
  int64_t file_bytes() const override { return 0; }
  void DropPages(std::span<const uint8_t> part) const override {
    dropped_ += static_cast<int64_t>(part.size());
    largest_ = std::max(largest_, static_cast<int64_t>(part.size()));
  }
  int64_t dropped() const { return dropped_; }
  int64_t largest() const { return largest_; }

 private:
  std::map<std::string, StoredTensor> tensors_;
  mutable int64_t dropped_ = 0;
  mutable int64_t largest_ = 0;
};

// A [rows, cols] float32 tensor of 0, 1, 2, … that starts `shift` bytes off alignment.
struct Source {
  Source(int64_t rows, int64_t cols, size_t shift) {
    std::vector<float> values(static_cast<size_t>(rows * cols));
    std::iota(values.begin(), values.end(), 0.0f);
    bytes.resize(4 * values.size() + shift);
    std::memcpy(bytes.data() + shift, values.data(), 4 * values.size());
    tensor.shape = {rows, cols};
    tensor.bytes = std::span(bytes).subspan(shift);
  }
  std::vector<uint8_t> bytes;
  StoredTensor tensor;
};

TEST(MatrixPackerTest, CopiesRowsToAStride) {
  const Source source(7, 5, 1);
  const CountingFiles files;
  std::vector<float> out(3 * 8, -1.0f);
  PackRows({&source.tensor, 2, 3, 5}, Conversion{}, files, reinterpret_cast<uint8_t*>(out.data()),
           8 * 4);
  for (size_t row = 0; row < 3; ++row) {
    for (size_t i = 0; i < 8; ++i) {
      EXPECT_EQ(out[row * 8 + i], i < 5 ? static_cast<float>((row + 2) * 5 + i) : -1.0f);
    }
  }
  EXPECT_EQ(files.dropped(), 3 * 5 * 4);
}

TEST(MatrixPackerTest, ConvertsToBf16) {
  const Source source(4, 200, 0);
  const CountingFiles files;
  std::vector<kernels::Bf16> out(800);
  const Conversion conversion{kernels::DType::kBf16, Rounding::kBf16};
  EXPECT_FALSE(conversion.Copies(StoredDType::kF32));
  EXPECT_TRUE(conversion.Copies(StoredDType::kBf16));
  PackRows({&source.tensor, 0, 4, 200}, conversion, files, reinterpret_cast<uint8_t*>(out.data()),
           400);
  for (size_t i = 0; i < out.size(); ++i) {
    EXPECT_EQ(out[i].bits, kernels::ToBf16(static_cast<float>(i)).bits);
  }
}

TEST(MatrixPackerTest, GivesPagesBackPieceByPiece) {
  const Source source(3000, 2000, 0);  // 24 MB
  const CountingFiles files;
  std::vector<float> out(3000 * 2000);
  PackRows({&source.tensor, 0, 3000, 2000}, Conversion{}, files,
           reinterpret_cast<uint8_t*>(out.data()), 8000);
  EXPECT_EQ(out.back(), 5'999'999.0f);
  EXPECT_EQ(files.dropped(), int64_t{24'000'000});
  EXPECT_LE(files.largest(), int64_t{8} << 20);
}

}  // namespace
}  // namespace mneme::loader
