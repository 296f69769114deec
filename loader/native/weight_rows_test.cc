#include "loader/native/weight_rows.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/device/buffer.h"
#include "loader/native/convert.h"
#include "loader/native/shard_plan.h"
#include "loader/native/test_checkpoint.h"
#include "loader/pack/packed_weights.h"

namespace mneme::loader {
namespace {

// Where the first row of a native tensor lies among what PackedWeights has.
const uint8_t* Packed(const PackedWeight& packed, const ManifestWeight& weight, int64_t tensor) {
  if (weight.packing == Packing::kStacked) return packed.stack[static_cast<size_t>(tensor)];
  const int64_t first = tensor * weight.block_rows * weight.row_bytes();
  if (weight.packing == Packing::kInterleavedRows) return packed.table.data + first;
  return static_cast<const uint8_t*>(packed.view.data) + first;
}

class WeightRowsTest : public testing::TestWithParam<Manifest::DType> {};

TEST_P(WeightRowsTest, AnyPiecesAreThoseOfPackedWeights) {
  const Checkpoint checkpoint = WriteTestCheckpoint(FreshFolder("in"));
  const PackOptions options = PackOptionsOf(GetParam());
  // Small shards, so that some weights are divided.
  const auto plan = PlanShards(checkpoint.model, checkpoint.weights,
                               {options, std::string(32, '0'), kLeastShardBytes});
  ASSERT_TRUE(plan.ok()) << plan.status();
  const auto packed = PackedWeights::Pack(checkpoint, plan->ids, options);
  ASSERT_TRUE(packed.ok()) << packed.status();
  WeightRows rows(checkpoint, options);
  bool divided = false;
  for (size_t w = 0; w < plan->weights.size(); ++w) {
    const ManifestWeight& weight = plan->weights[w];
    divided = divided || (weight.packing == Packing::kRowMajor && weight.blocks());
    for (int64_t tensor = 0; tensor < weight.tensor_count(); ++tensor) {
      const int64_t all = weight.tensor_rows(tensor);
      const uint8_t* want = Packed(packed->at(plan->ids[w]), weight, tensor);
      for (const int64_t step : {all, all / 3 + 1, std::max<int64_t>(1, all / 40)}) {
        auto buffer = kernels::Buffer::Allocate(step * weight.row_bytes(), kernels::Pages::kNormal);
        ASSERT_TRUE(buffer.ok()) << buffer.status();
        for (int64_t first = 0; first < all; first += step) {
          const int64_t count = std::min(step, all - first);
          // What a buffer held before must not show.
          std::memset(buffer->data(), 0xa5, static_cast<size_t>(buffer->size()));
          rows.Read(plan->ids[w], weight, tensor, first, count, buffer->data());
          ASSERT_EQ(std::memcmp(buffer->data(), want + first * weight.row_bytes(),
                                static_cast<size_t>(count * weight.row_bytes())),
                    0)
              << weight.name << " tensor " << tensor << " rows " << first << " + " << count;
        }
      }
    }
  }
  EXPECT_TRUE(divided);
}

INSTANTIATE_TEST_SUITE_P(All, WeightRowsTest,
                         testing::Values(Manifest::DType::kStored, Manifest::DType::kBf16,
                                         Manifest::DType::kF32),
                         [](const auto& info) { return ManifestDTypeName(info.param); });

}  // namespace
}  // namespace mneme::loader
