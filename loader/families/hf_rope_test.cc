#include "loader/families/hf_rope.h"

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/rope/rope.h"
#include "loader/families/hf_config.h"
#include "loader/files/mapped_file.h"
#include "loader/safetensors/safetensors.h"
#include "nlohmann/json.hpp"

namespace mneme::loader {
namespace {

using testing::HasSubstr;

absl::StatusOr<ModelDescription> Parse(const std::string& keys,
                                       const std::set<std::string>& ignored = {}) {
  return ParseHfConfig(absl::StrCat(R"({"architectures":["MixtralForCausalLM"],"hidden_size":64,
                       "num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,
                       "vocab_size":50,"max_position_embeddings":512,"intermediate_size":32,
                       "num_local_experts":4,)",
                                    keys, "}"),
                       "c.json", ignored);
}

RopeDescription Rope(const std::string& keys) {
  const auto model = Parse(keys);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? model->attention.rope : RopeDescription{};
}

std::string Error(const std::string& keys, const std::set<std::string>& ignored = {}) {
  const auto model = Parse(keys, ignored);
  return model.ok() ? "" : std::string(model.status().message());
}

std::vector<float> Frequencies(const RopeDescription& rope, int64_t head_dim) {
  return rope.frequencies.empty() ? kernels::RopeFrequencies(rope.theta, head_dim)
                                  : rope.frequencies;
}

TEST(HfRopeTest, AKeyThatIsReadCannotBeIgnored) {
  const std::string linear = R"("rope_scaling": {"type": "linear", "factor": 2.0, "extra": 1})";
  EXPECT_EQ(Error(linear, {"rope_scaling.extra"}), "");
  EXPECT_EQ(Error(linear, {"rope_scaling.extra", "rope_scaling.factor"}),
            "c.json: rope_scaling.factor: --ignore-config-key: this key is read, it cannot be "
            "ignored");
  EXPECT_EQ(Error(linear, {"rope_scaling.extra", "rope_scaling.none", "rope_parameters.factor"}),
            "");
}

// The reference implementation's, of every golden config.
TEST(HfRopeTest, FrequenciesAreTheReferences) {
  for (const char* name :
       {"olmoe", "olmoe_fused", "mixtral", "mixtral_llama3rope", "qwen2_moe", "qwen3_moe"}) {
    const std::string folder = absl::StrCat("tests/golden/", name);
    const auto text = ReadSmallFile(folder + "/config.json", 1 << 20);
    ASSERT_TRUE(text.ok()) << text.status();
    const auto model = ParseHfConfig(*text, "c.json", {});
    ASSERT_TRUE(model.ok()) << model.status();
    const auto golden = SafetensorsFile::Open(folder + "/golden.safetensors");
    ASSERT_TRUE(golden.ok()) << golden.status();
    const StoredTensor& tensor = (*golden)->tensors().at("rope_inv_freq");
    std::vector<float> expected(static_cast<size_t>(tensor.elements()));
    std::memcpy(expected.data(), tensor.bytes.data(), tensor.bytes.size());
    const std::vector<float> got = Frequencies(model->attention.rope, model->attention.head_dim);
    ASSERT_EQ(got.size(), expected.size()) << name;
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_NEAR(got[i] / expected[i], 1.0, 5e-7) << name << " " << i;
    }
    const double factor = std::stod((*golden)->metadata().at("rope_attention_factor"));
    EXPECT_NEAR(model->attention.rope.scale, factor, 1e-6) << name;
  }
}

TEST(HfRopeTest, WhereTheSettingsStand) {
  EXPECT_EQ(Rope(R"("rope_theta":5000)").theta, 5000.0f);
  EXPECT_EQ(Rope(R"("rope_theta":5000,"rope_parameters":{"rope_theta":7000})").theta, 7000.0f);
  // rope_scaling goes before rope_parameters, which is then ignored whole.
  const RopeDescription both =
      Rope(R"("rope_scaling":{"type":"linear","factor":2},"rope_parameters":{"rope_theta":7000})");
  EXPECT_EQ(both.theta, 1e6f);
  EXPECT_EQ(both.frequencies[0], 0.5f);
  EXPECT_EQ(Rope(R"("rope_scaling":{},"rope_parameters":{"rope_theta":7000})").theta, 7000.0f);
  EXPECT_EQ(Rope(R"("rope_scaling":null,"rope_parameters":{"rope_theta":7000})").theta, 7000.0f);
  // rope_type goes before type.
  EXPECT_TRUE(
      Rope(R"("rope_scaling":{"rope_type":"default","type":"dynamic"})").frequencies.empty());
}

TEST(HfRopeTest, YarnsOptions) {
  const std::string yarn = R"("rope_scaling":{"rope_type":"yarn","factor":4,)"
                           R"("original_max_position_embeddings":128)";
  const RopeDescription plain = Rope(yarn + "}");
  EXPECT_NEAR(plain.scale, 0.1 * std::log(4.0) + 1, 1e-6);
  EXPECT_EQ(Rope(yarn + R"(,"attention_factor":1.5})").scale, 1.5f);
  EXPECT_NEAR(Rope(yarn + R"(,"mscale":2,"mscale_all_dim":0.5})").scale,
              (0.2 * std::log(4.0) + 1) / (0.05 * std::log(4.0) + 1), 1e-6);
  EXPECT_EQ(Rope(yarn + R"(,"mscale":2,"mscale_all_dim":0})").scale, plain.scale);
  EXPECT_EQ(Rope(yarn + R"(,"beta_fast":32,"beta_slow":1})").frequencies, plain.frequencies);
  EXPECT_EQ(Rope(yarn + R"(,"beta_fast":0,"beta_slow":null})").frequencies, plain.frequencies);
  EXPECT_NE(Rope(yarn + R"(,"beta_slow":0.1})").frequencies, plain.frequencies);
  EXPECT_NE(Rope(yarn + R"(,"truncate":false})").frequencies, plain.frequencies);
  // The top level's original length goes before the inner one.
  EXPECT_NE(Rope(R"("original_max_position_embeddings":512,)" + yarn + "}").frequencies,
            plain.frequencies);
  // factor null: max_position_embeddings / original length = 4.
  EXPECT_EQ(Rope(R"("rope_scaling":{"type":"yarn","factor":null,)"
                 R"("original_max_position_embeddings":128})")
                .frequencies,
            plain.frequencies);
}

// Wavelengths 6, 35, 199, ...: the third is the first above 512 / 4. Nothing lies between the
// bands.
TEST(HfRopeTest, Llama3WithoutAMiddleBand) {
  const std::vector<float> base = kernels::RopeFrequencies(1e6f, 16);
  for (const char* high : {"4", "1"}) {
    const RopeDescription rope = Rope(absl::StrCat(
        R"("rope_scaling":{"type":"llama3","factor":8,"low_freq_factor":4,"high_freq_factor":)",
        high, "}"));
    ASSERT_EQ(rope.frequencies.size(), 8u);
    for (size_t i = 0; i < 8; ++i) {
      EXPECT_EQ(rope.frequencies[i], i < 2 ? base[i] : base[i] / 8) << high << " " << i;
    }
  }
}

// The ramp of these goes from 1.30, rounded down, to 3.31, rounded up.
TEST(HfRopeTest, YarnRoundsItsRampOutwards) {
  const RopeDescription rope = Rope(
      R"("rope_scaling":{"rope_type":"yarn","factor":4,"original_max_position_embeddings":1900})");
  const std::vector<float> base = kernels::RopeFrequencies(1e6f, 16);
  const double expected[] = {1, 1, 0.75, 0.5, 0.25, 0.25, 0.25, 0.25};
  ASSERT_EQ(rope.frequencies.size(), 8u);
  for (size_t i = 0; i < 8; ++i) EXPECT_NEAR(rope.frequencies[i] / base[i], expected[i], 1e-6) << i;
}

TEST(HfRopeTest, RefusesByName) {
  const auto scaling = [](const std::string& keys) { return R"("rope_scaling":{)" + keys + "}"; };
  EXPECT_THAT(Error(scaling(R"("type":"dynamic","factor":2)")),
              HasSubstr("c.json: rope_scaling.type: \"dynamic\" is not served: its frequencies"));
  for (const char* type : {"longrope", "proportional", "su"}) {
    EXPECT_THAT(Error(scaling(absl::StrCat(R"("rope_type":")", type, "\""))),
                HasSubstr(absl::StrCat("rope_scaling.rope_type: \"", type, "\" is not served")));
  }
  EXPECT_THAT(Error(scaling(R"("type":"linear")")), HasSubstr("rope_scaling.factor: is missing"));
  EXPECT_THAT(Error(scaling(R"("type":"yarn")")), HasSubstr("rope_scaling.factor: is missing"));
  EXPECT_THAT(Error(scaling(R"("type":"llama3","factor":8,"high_freq_factor":4)")),
              HasSubstr("rope_scaling.low_freq_factor: is missing"));
  EXPECT_THAT(Error(scaling(R"("type":"llama3","factor":8,"low_freq_factor":1)")),
              HasSubstr("rope_scaling.high_freq_factor: is missing"));
  EXPECT_THAT(Error(scaling(R"("partial_rotary_factor":0.25)")),
              HasSubstr("rope_scaling.partial_rotary_factor: 0.25 is not served"));
  EXPECT_THAT(Error(scaling(R"("full_attention":{"factor":1})")),
              HasSubstr("rope_scaling.full_attention: unknown key"));
  EXPECT_EQ(Error(scaling(R"("x":1)"), {"rope_scaling.x"}), "");
  EXPECT_THAT(Error(R"("rope_scaling":"linear")"), HasSubstr("rope_scaling: expected an object"));
  EXPECT_THAT(Error(R"("rope_theta":0.5)"), HasSubstr("rope_theta: 0.5 is less than 1"));
  EXPECT_THAT(Error(scaling(R"("type":"linear","factor":-1)")),
              HasSubstr("rope_scaling.factor: -1 is not in"));
}

}  // namespace
}  // namespace mneme::loader
