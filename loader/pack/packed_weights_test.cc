#include "loader/pack/packed_weights.h"

#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "loader/pack/memory_files.h"

namespace mneme::loader {
namespace {

using kernels::Bf16;
using kernels::DType;

Checkpoint Inspect(const std::string& name) {
  auto checkpoint = InspectCheckpoint("tests/golden/" + name);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  return checkpoint.ok() ? *std::move(checkpoint) : Checkpoint{};
}

std::vector<WeightId> AllIds(const Checkpoint& checkpoint) {
  std::vector<WeightId> ids;
  for (const auto& [id, source] : checkpoint.weights) ids.push_back(id);
  return ids;
}

PackedWeights Pack(const Checkpoint& checkpoint, const PackOptions& options = {}) {
  auto packed = PackedWeights::Pack(checkpoint, AllIds(checkpoint), options);
  EXPECT_TRUE(packed.ok()) << packed.status();
  return packed.ok() ? *std::move(packed) : PackedWeights{};
}

float Stored(const StoredTensor& tensor, int64_t index) {
  float value = 0;
  std::memcpy(&value, tensor.bytes.data() + 4 * index, 4);
  return value;
}

class PackGoldenTest : public testing::TestWithParam<const char*> {};

TEST_P(PackGoldenTest, EveryWeightHasItsValues) {
  const Checkpoint checkpoint = Inspect(GetParam());
  const PackedWeights packed = Pack(checkpoint);
  const std::set<Role> computed = {Role::kRopeCos, Role::kRopeSin, Role::kMemoryKeyInverseNorm,
                                   Role::kMemoryKeyMean, Role::kMemoryShuffle};
  for (const auto& [id, source] : checkpoint.weights) {
    const PackedWeight& weight = packed.at(id);
    if (computed.count(id.role) != 0) continue;
    if (id.role == Role::kMemoryTable) {
      int64_t column = 0;
      for (const WeightSource::Part& part : source.parts) {
        for (int64_t i = 0; i < part.rows * part.cols; ++i) {
          const auto* row = reinterpret_cast<const float*>(
              weight.table.data + i / part.cols * weight.table.row_stride_bytes);
          ASSERT_EQ(row[column + i % part.cols], Stored(*part.tensor, i)) << WeightName(id);
        }
        column += part.cols;
      }
      EXPECT_EQ(weight.table.pre_width + weight.table.width, column);
      EXPECT_EQ(weight.table.row_stride_bytes % 64, 0);
      continue;
    }
    int64_t row = 0;
    const kernels::Matrix<const float> view = weight.view.As<float>();
    for (const WeightSource::Part& part : source.parts) {
      ASSERT_EQ(view.cols, part.cols);
      for (int64_t i = 0; i < part.rows * part.cols; ++i) {
        ASSERT_EQ(view.row(row + i / part.cols)[i % part.cols],
                  Stored(*part.tensor, part.first_row * part.cols + i))
            << WeightName(id);
      }
      row += part.rows;
    }
    EXPECT_EQ(view.rows, row) << WeightName(id);
  }
}

INSTANTIATE_TEST_SUITE_P(All, PackGoldenTest,
                         testing::Values("dense", "dense_llama", "memory_plus", "ultramem_v1_skip",
                                         "ultramem_v2", "ultramem_v2_corners", "ultramem_v2_expand",
                                         "ultramem_v2_options", "ultramem_v2_plain"),
                         [](const auto& info) { return std::string(info.param); });

TEST(PackedWeightsTest, MostWeightsStayInTheFile) {
  const Checkpoint checkpoint = Inspect("ultramem_v2");
  const PackedWeights packed = Pack(checkpoint);
  EXPECT_TRUE(packed.at({Role::kQuery, 0}).in_place);
  EXPECT_TRUE(packed.at({Role::kMemoryKeys, 0}).in_place);
  EXPECT_TRUE(packed.at({Role::kEmbedding, -1}).in_place);
  EXPECT_EQ(packed.at({Role::kHead, -1}).view.data, packed.at({Role::kEmbedding, -1}).view.data);
  const PackedTable& table = packed.at({Role::kMemoryTable, -1}).table;
  EXPECT_EQ(table.rows, 768);
  EXPECT_EQ(table.pre_width, 16);
  EXPECT_EQ(table.width, 32);
  EXPECT_EQ(table.row_stride_bytes, 192);
  EXPECT_EQ(packed.at({Role::kMemoryTable, -1}).bytes, 768 * 192);
}

TEST(PackedWeightsTest, RopeTablesHoldTheAngles) {
  const Checkpoint checkpoint = Inspect("dense_llama");
  const PackedWeights packed = Pack(checkpoint);
  const auto cos = packed.at({Role::kRopeCos, -1}).view.As<float>();
  const auto sin = packed.at({Role::kRopeSin, -1}).view.As<float>();
  ASSERT_EQ(cos.rows, 128);
  ASSERT_EQ(cos.cols, 8);
  for (const int64_t position : {0, 1, 17, 127}) {
    for (int64_t i = 0; i < 8; ++i) {
      const double angle = static_cast<double>(position) * std::pow(500000.0, -2.0 * i / 16);
      // The float32 angle is off by a few units in its last place.
      const double tolerance = 4 * (std::abs(angle) + 1) * 6e-8;
      EXPECT_NEAR(cos.row(position)[i], std::cos(angle), tolerance);
      EXPECT_NEAR(sin.row(position)[i], std::sin(angle), tolerance);
    }
  }
}

TEST(PackedWeightsTest, KeyNormsAreThoseOfTheKeys) {
  for (const char* name : {"ultramem_v2", "ultramem_v2_options"}) {
    const Checkpoint checkpoint = Inspect(name);
    const PackedWeights packed = Pack(checkpoint);
    const MemoryDescription& memory = *checkpoint.model.memory;
    const bool layer_norm = memory.keys_norm->kind == NormKind::kLayer;
    const auto keys = packed.at({Role::kMemoryKeys, 1}).view.As<float>();
    const auto inverse = packed.at({Role::kMemoryKeyInverseNorm, 1}).view.As<float>();
    ASSERT_EQ(inverse.rows, keys.rows);
    ASSERT_EQ(inverse.cols, 2);
    for (int64_t row = 0; row < keys.rows; ++row) {
      for (int64_t rank = 0; rank < 2; ++rank) {
        double sum = 0;
        double squares = 0;
        for (int64_t i = 0; i < memory.key_dim; ++i) {
          sum += keys.row(row)[2 * i + rank];
          squares += std::pow(keys.row(row)[2 * i + rank], 2);
        }
        const double mean = layer_norm ? sum / 32 : 0;
        const double want = 1 / std::sqrt(squares / 32 - mean * mean + memory.keys_norm->eps);
        EXPECT_NEAR(inverse.row(row)[rank], want, want * 1e-6);
        if (layer_norm) {
          const auto means = packed.at({Role::kMemoryKeyMean, 1}).view.As<float>();
          EXPECT_NEAR(means.row(row)[rank], mean, 1e-7);
        }
      }
    }
  }
}

TEST(PackedWeightsTest, ShufflesArePermutationsOf32Bits) {
  const Checkpoint checkpoint = Inspect("ultramem_v2");
  const PackedWeights packed = Pack(checkpoint);
  const auto shuffle = packed.at({Role::kMemoryShuffle, 2}).view.As<int32_t>();
  ASSERT_EQ(shuffle.rows, 1444);
  const std::set<int32_t> values(shuffle.data, shuffle.data + shuffle.rows);
  EXPECT_EQ(values.size(), 1444u);
  const StoredTensor& stored = *checkpoint.weights.at({Role::kMemoryShuffle, 2}).parts[0].tensor;
  int64_t first = 0;
  std::memcpy(&first, stored.bytes.data(), 8);
  EXPECT_EQ(shuffle.data[0], first);
}

TEST(PackedWeightsTest, RoundsToBf16AndWidensBack) {
  const Checkpoint checkpoint = Inspect("ultramem_v2");
  const PackedWeights exact = Pack(checkpoint);
  const PackedWeights rounded = Pack(checkpoint, PackOptions{.round_to_bf16 = true});
  const PackedWeights widened =
      Pack(checkpoint, PackOptions{.round_to_bf16 = true, .widen_to_f32 = true});
  for (const Role role : {Role::kKey, Role::kMemoryKeys}) {
    const auto want = exact.at({role, 1}).view.As<float>();
    const auto half = rounded.at({role, 1}).view.As<Bf16>();
    const auto wide = widened.at({role, 1}).view.As<float>();
    for (int64_t row = 0; row < want.rows; ++row) {
      for (int64_t i = 0; i < want.cols; ++i) {
        ASSERT_EQ(half.row(row)[i].bits, kernels::ToBf16(want.row(row)[i]).bits);
        ASSERT_EQ(wide.row(row)[i], kernels::ToFloat(half.row(row)[i]));
      }
    }
  }
  // Vectors keep their values; the key norms are those of the rounded keys.
  EXPECT_EQ(rounded.at({Role::kFinalNormWeight, -1}).view.As<float>().data[3],
            exact.at({Role::kFinalNormWeight, -1}).view.As<float>().data[3]);
  const auto inverse = rounded.at({Role::kMemoryKeyInverseNorm, 0}).view.As<float>();
  const auto same = widened.at({Role::kMemoryKeyInverseNorm, 0}).view.As<float>();
  const auto other = exact.at({Role::kMemoryKeyInverseNorm, 0}).view.As<float>();
  EXPECT_EQ(std::memcmp(inverse.data, same.data, 4 * inverse.rows * inverse.cols), 0);
  EXPECT_NE(std::memcmp(inverse.data, other.data, 4 * inverse.rows * inverse.cols), 0);
  // Tables: half the bytes, the same rounding; a tied head shares the copy.
  const PackedTable& table = rounded.at({Role::kMemoryTable, -1}).table;
  const PackedTable& full = exact.at({Role::kMemoryTable, -1}).table;
  EXPECT_EQ(table.dtype, DType::kBf16);
  EXPECT_EQ(table.row_stride_bytes, 128);
  const auto* half_row = reinterpret_cast<const Bf16*>(table.data + 5 * table.row_stride_bytes);
  const auto* full_row = reinterpret_cast<const float*>(full.data + 5 * full.row_stride_bytes);
  for (int i = 0; i < 48; ++i) {
    EXPECT_EQ(half_row[i].bits, kernels::ToBf16(full_row[i]).bits);
  }
  EXPECT_EQ(rounded.at({Role::kHead, -1}).view.data, rounded.at({Role::kEmbedding, -1}).view.data);
  EXPECT_GT(rounded.owned_bytes(), exact.owned_bytes());
}

TEST(PackedWeightsTest, RefusesWeightsThatTheModelLacks) {
  const Checkpoint checkpoint = Inspect("dense");
  const auto packed = PackedWeights::Pack(checkpoint, {{Role::kMemoryKeys, 0}}, {});
  EXPECT_EQ(packed.status().message(), "tests/golden/dense: the model has no weight memory.0.keys");
}

// Matrices of [2, 3] that lie apart, and halves of a fused [2, 2 + 2, 3].
TEST(PackedWeightsTest, ExpertsStayWhereTheyLieOrAreCopiedTogether) {
  auto files = std::make_shared<MemoryFiles>();
  const StoredTensor* b = files->Add("b", {2, 3}, 100);
  const StoredTensor* a = files->Add("a", {2, 3}, 200);
  const StoredTensor* fused = files->Add("fused", {2, 4, 3}, 300);
  const StoredTensor* odd = files->Add("odd", {2, 3}, 400, /*misaligned=*/1);
  Checkpoint checkpoint;
  checkpoint.files = files;
  checkpoint.weights[{Role::kExpertGate, 0}].parts = {{a, 0, 2, 3}, {b, 0, 2, 3}};
  checkpoint.weights[{Role::kExpertUp, 0}].parts = {{fused, 2, 2, 3}, {fused, 6, 2, 3}};
  checkpoint.weights[{Role::kExpertDown, 0}].parts = {{a, 0, 2, 3}, {odd, 0, 2, 3}};
  const struct {
    Role role;
    bool in_place;
    float firsts[2];
  } expected[] = {{Role::kExpertGate, true, {200, 100}},
                  {Role::kExpertUp, true, {306, 318}},
                  {Role::kExpertDown, false, {200, 400}}};
  const PackedWeights packed = Pack(checkpoint);
  const PackedWeights rounded = Pack(checkpoint, PackOptions{.round_to_bf16 = true});
  for (const auto& e : expected) {
    const PackedWeight& weight = packed.at({e.role, 0});
    EXPECT_EQ(weight.in_place, e.in_place);
    const PackedWeight& half = rounded.at({e.role, 0});
    EXPECT_FALSE(half.in_place);
    EXPECT_EQ(half.view.dtype, DType::kBf16);
    EXPECT_EQ(half.bytes, 2 * 2 * 3 * 2);
    EXPECT_EQ(weight.bytes, 2 * 2 * 3 * 4);
    ASSERT_EQ(weight.stack.size(), 2u);
    ASSERT_EQ(half.stack.size(), 2u);
    EXPECT_EQ(weight.view.data, weight.stack[0]);
    EXPECT_EQ(weight.view.rows, 2);
    for (int i = 0; i < 2; ++i) {
      for (int j = 0; j < 6; ++j) {
        const float want = e.firsts[i] + static_cast<float>(j);
        EXPECT_EQ(reinterpret_cast<const float*>(weight.stack[i])[j], want);
        EXPECT_EQ(reinterpret_cast<const Bf16*>(half.stack[i])[j].bits, kernels::ToBf16(want).bits);
      }
    }
  }
  EXPECT_EQ(packed.at({Role::kExpertGate, 0}).stack[1], b->bytes.data());
}

}  // namespace
}  // namespace mneme::loader
