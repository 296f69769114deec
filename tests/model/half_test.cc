// A checkpoint in float16 gives the bits of the same numbers in float32, as it is stored and as it
// was converted, exactly and rounded to bfloat16.

#include <bit>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "loader/native/convert.h"
#include "loader/safetensors/safetensors.h"
#include "tests/model/golden_case.h"
#include "tests/model/rank_runner.h"

namespace mneme::testing {
namespace {

namespace fs = std::filesystem;
using loader::StoredDType;
using loader::StoredTensor;

// binary16 nearest to zero from `x`; below the smallest normal one, zero. REQUIRES: |x| < 65536.
uint16_t ToHalf(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  const uint32_t sign = (bits >> 16) & 0x8000;
  const uint32_t exponent = (bits >> 23) & 0xff;
  if (exponent <= 127 - 15) return static_cast<uint16_t>(sign);
  return static_cast<uint16_t>(sign | ((exponent - (127 - 15)) << 10) | ((bits >> 13) & 0x3ff));
}

float FromHalf(uint16_t half) {
  const uint32_t magnitude = half & 0x7fffu;
  const uint32_t bits = magnitude == 0 ? 0 : (magnitude << 13) + ((127u - 15) << 23);
  return std::bit_cast<float>(bits | (half & 0x8000u) << 16);
}

// A copy of a golden checkpoint of float32 with its floating-point tensors cut to float16, stored
// as such or as float32.
std::string Cut(const std::string& source, const std::string& name, StoredDType dtype) {
  const fs::path out = fs::path(::testing::TempDir()) / name;
  fs::remove_all(out);
  fs::copy(source, out);
  const auto file = loader::SafetensorsFile::Open(source + "/model.safetensors").value();
  std::vector<StoredTensor> tensors;
  std::vector<std::vector<uint8_t>> data;
  data.reserve(file->tensors().size());
  for (const auto& [tensor_name, tensor] : file->tensors()) {
    tensors.push_back(tensor);
    if (tensor.dtype != StoredDType::kF32) continue;
    const bool half = dtype == StoredDType::kF16;
    std::vector<uint8_t>& bytes = data.emplace_back();
    for (int64_t i = 0; i < tensor.elements(); ++i) {
      float x;
      std::memcpy(&x, tensor.bytes.data() + 4 * i, 4);
      const uint16_t cut = ToHalf(x);
      const float whole = FromHalf(cut);
      const auto* from =
          half ? reinterpret_cast<const uint8_t*>(&cut) : reinterpret_cast<const uint8_t*>(&whole);
      bytes.insert(bytes.end(), from, from + (half ? 2 : 4));
    }
    tensors.back().dtype = dtype;
    tensors.back().bytes = bytes;
  }
  fs::remove(out / "model.safetensors");
  EXPECT_TRUE(loader::WriteSafetensors((out / "model.safetensors").string(), tensors, {}).ok());
  return out.string();
}

std::vector<std::vector<float>> Logits(const std::string& directory, int32_t ranks,
                                       const std::string& weights) {
  ModelOptions options;
  options.model_directory = directory;
  options.ranks = ranks;
  options.round_to_bf16 = weights == "bf16";
  options.widen_to_f32 = weights == "f32";
  options.cost.exchange_seconds = 0;
  options.cost.exchange_seconds_per_rank = 0;
  auto runner = RankRunner::Create(options);
  EXPECT_TRUE(runner.ok()) << runner.status();
  if (!runner.ok()) return {};
  std::vector<int32_t> tokens;
  for (int i = 0; i < 20; ++i) tokens.push_back((i * 37 + 11) % 200);
  return (*runner)->Run({{0, tokens}});
}

class HalfTest : public ::testing::TestWithParam<std::string> {};

TEST_P(HalfTest, GivesTheBitsOfTheSameNumbersInFloat32) {
  const std::string source = GoldenCase(GetParam()).directory();
  const std::string half = Cut(source, absl::StrCat(GetParam(), "_f16"), StoredDType::kF16);
  const std::string wide = Cut(source, absl::StrCat(GetParam(), "_f32"), StoredDType::kF32);
  const std::string native = half + "_native";
  fs::remove_all(native);
  const auto converted =
      loader::ConvertCheckpoint(loader::InspectCheckpoint(half).value(), native, {}, {});
  ASSERT_TRUE(converted.ok()) << converted.status();
  for (const char* weights : {"stored", "f32", "bf16"}) {
    for (const int32_t ranks : {1, 2}) {
      SCOPED_TRACE(absl::StrCat(weights, ", ", ranks, " ranks"));
      const auto expected = Logits(wide, ranks, weights);
      ASSERT_FALSE(expected.empty());
      EXPECT_EQ(Logits(half, ranks, weights), expected);
      EXPECT_EQ(Logits(native, ranks, weights), expected);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, HalfTest, ::testing::Values("olmoe", "ultramem_v2"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace mneme::testing
