#include "kernels/embedding/embedding.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/simd/runnable_isas.h"

namespace mneme::kernels {
namespace {

std::vector<float> Normal(int64_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(n));
  for (float& f : x) f = normal(random);
  return x;
}

TEST(EmbeddingTest, CopiesRowsExactlyOnEveryInstructionSet) {
  for (int64_t dim : {1, 15, 16, 17, 40, 256}) {
    const int64_t stride = dim + 3;
    std::vector<float> wide = Normal(7 * stride, 1);
    std::vector<Bf16> narrow;
    for (float f : wide) narrow.push_back(ToBf16(f));
    const std::vector<int32_t> ids = {6, 0, 3, 3, 5};
    for (DType dtype : {DType::kF32, DType::kBf16}) {
      const void* data = dtype == DType::kF32 ? static_cast<const void*>(wide.data())
                                              : static_cast<const void*>(narrow.data());
      std::vector<float> want(5 * stride, -77.0f);
      std::vector<float> got(5 * stride);
      EmbeddingArgs args;
      args.ids = ids;
      args.table = {data, dtype, 7, dim, stride};
      args.y = {want.data(), 5, dim, stride};
      const Traffic traffic = EmbeddingReference(args);
      EXPECT_EQ(want[0], dtype == DType::kF32 ? wide[6 * stride] : ToFloat(narrow[6 * stride]));
      for (Isa isa : RunnableIsas()) {
        std::fill(got.begin(), got.end(), -77.0f);
        args.y.data = got.data();
        EXPECT_EQ(ResolveEmbedding(dtype, isa)(args), traffic);
        EXPECT_EQ(got, want) << IsaName(isa) << " " << DTypeName(dtype) << " dim " << dim;
      }
      const uint64_t elements = static_cast<uint64_t>(5 * dim);
      EXPECT_EQ(traffic.read_bytes[static_cast<int>(TrafficClass::kDenseWeights)],
                elements * static_cast<uint64_t>(DTypeBytes(dtype)));
      EXPECT_EQ(traffic.written_bytes[static_cast<int>(TrafficClass::kActivations)], elements * 4);
    }
  }
}

TEST(EmbeddingTest, ATokenAloneHasTheBitsItHasInABatch) {
  const std::vector<float> table = Normal(4 * 37, 2);
  const std::vector<int32_t> ids = {3, 1, 1, 0};
  for (Isa isa : RunnableIsas()) {
    std::vector<float> batch(4 * 37);
    std::vector<float> alone(37);
    EmbeddingArgs args;
    args.table = {table.data(), DType::kF32, 4, 37, 37};
    args.ids = ids;
    args.y = MakeMatrix(batch.data(), 4, 37);
    ResolveEmbedding(DType::kF32, isa)(args);
    for (size_t t = 0; t < ids.size(); ++t) {
      args.ids = std::span<const int32_t>(ids).subspan(t, 1);
      args.y = MakeMatrix(alone.data(), 1, 37);
      ResolveEmbedding(DType::kF32, isa)(args);
      EXPECT_TRUE(std::equal(alone.begin(), alone.end(), batch.begin() + static_cast<int>(t) * 37));
    }
  }
}

// Ranks that divide the vocabulary, one of them without any of the ids: their sum is the whole.
TEST(EmbeddingTest, AShareOfTheRowsGivesZerosForTheOthers) {
  constexpr int64_t kDim = 37;
  const std::vector<float> table = Normal(10 * kDim, 3);
  const std::vector<int32_t> ids = {9, 0, 4, 3, 3, 5};
  const std::vector<int64_t> cuts = {0, 4, 6, 8, 10};
  std::vector<float> whole(ids.size() * kDim);
  EmbeddingArgs args;
  args.ids = ids;
  args.table = {table.data(), DType::kF32, 10, kDim, kDim};
  args.y = MakeMatrix(whole.data(), static_cast<int64_t>(ids.size()), kDim);
  EmbeddingReference(args);
  for (Isa isa : RunnableIsas()) {
    std::vector<float> sum(whole.size());
    uint64_t read = 0;
    for (size_t r = 0; r + 1 < cuts.size(); ++r) {
      std::vector<float> want(whole.size(), -77.0f);
      std::vector<float> got(whole.size(), -77.0f);
      args.table = {table.data() + cuts[r] * kDim, DType::kF32, cuts[r + 1] - cuts[r], kDim, kDim};
      args.first_row = cuts[r];
      args.y.data = want.data();
      const Traffic traffic = EmbeddingReference(args);
      args.y.data = got.data();
      EXPECT_EQ(ResolveEmbedding(DType::kF32, isa)(args), traffic);
      EXPECT_EQ(got, want) << IsaName(isa) << " rank " << r;
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += got[i];
      const uint64_t rank_read = traffic.read_bytes[static_cast<int>(TrafficClass::kDenseWeights)];
      EXPECT_EQ(rank_read == 0, r == 2);
      read += rank_read;
    }
    EXPECT_EQ(sum, whole) << IsaName(isa);
    EXPECT_EQ(read, whole.size() * 4);
  }
}

TEST(EmbeddingTest, NoTokensAreNoWork) {
  EmbeddingArgs args;
  args.table = {nullptr, DType::kBf16, 0, 8, 8};
  args.y = {nullptr, 0, 8, 8};
  for (Isa isa : RunnableIsas()) EXPECT_EQ(ResolveEmbedding(DType::kBf16, isa)(args), Traffic());
}

}  // namespace
}  // namespace mneme::kernels
