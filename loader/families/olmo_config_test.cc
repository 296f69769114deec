#include "loader/families/olmo_config.h"

#include <map>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

using testing::HasSubstr;

using Settings = std::map<std::string, std::string>;

// A small UltraMemV2 model; `changes` replaces, adds, or (empty) removes settings.
std::string Config(const Settings& changes) {
  Settings settings = {{"d_model", "64"},     {"n_heads", "4"},
                       {"n_layers", "4"},     {"rope", "true"},
                       {"vocab_size", "200"}, {"embedding_size", "256"},
                       {"eos_token_id", "0"}, {"pad_token_id", "0"},
                       {"mem_knum", "16"},    {"mem_kdim", "32"},
                       {"mem_vdim", "32"},    {"mem_pre_vdim", "16"},
                       {"mem_knn", "8"},      {"mem_q_for_each_tucker_rank", "true"}};
  for (const auto& [key, value] : changes) settings[key] = value;
  std::string text = "model:\n";
  for (const auto& [key, value] : settings) {
    if (!value.empty()) text += "  " + key + ": " + value + "\n";
  }
  return text;
}

ModelDescription Parse(const Settings& changes) {
  const auto config = ParseOlmoConfig(Config(changes), "c.yaml");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? config->model : ModelDescription{};
}

void ExpectRefused(const Settings& changes, const std::string& message) {
  const auto config = ParseOlmoConfig(Config(changes), "c.yaml");
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << message;
  EXPECT_THAT(std::string(config.status().message()), HasSubstr(message));
  EXPECT_THAT(std::string(config.status().message()), testing::StartsWith("c.yaml: "));
}

TEST(OlmoConfigTest, AbsentSettingsHaveTheTrainersDefaults) {
  const auto config = ParseOlmoConfig("model: {rope: true, mem_insert_way: no_mem}", "c.yaml");
  ASSERT_TRUE(config.ok()) << config.status();
  const ModelDescription& model = config->model;
  EXPECT_TRUE(config->fused_qkv);
  EXPECT_EQ(model.family, "olmo");
  EXPECT_EQ(model.architecture, "dense");
  EXPECT_EQ(model.dim, 768);
  EXPECT_EQ(model.layers, 12);
  EXPECT_EQ(model.attention.heads, 12);
  EXPECT_EQ(model.attention.kv_heads, 12);
  EXPECT_EQ(model.attention.head_dim, 64);
  EXPECT_FALSE(model.attention.qk_norm.has_value());
  EXPECT_FALSE(model.attention.clip_qkv.has_value());
  EXPECT_TRUE(model.attention.qkv_bias);
  EXPECT_EQ(model.attention.rope.theta, 10000.0f);
  EXPECT_EQ(model.ffn.activation, Activation::kSwiglu);
  EXPECT_EQ(model.ffn.hidden, 4 * 768 / 2);
  EXPECT_EQ(model.block_norm.kind, NormKind::kLayer);
  EXPECT_EQ(model.block_norm.eps, 1e-5f);
  EXPECT_TRUE(model.block_norm.weight);
  EXPECT_TRUE(model.block_norm.bias);
  EXPECT_EQ(model.max_sequence_length, 1024);
  EXPECT_EQ(model.vocab_size, 50257);
  EXPECT_EQ(model.embedding_size, 50304);
  EXPECT_TRUE(model.tied_head);
  EXPECT_FALSE(model.norm_after);
  EXPECT_EQ(model.logit_scale, 1.0f);
  EXPECT_EQ(model.eos_token_ids, std::vector<int32_t>{50256});
  EXPECT_EQ(model.pad_token_id, 50256);
  EXPECT_FALSE(model.memory.has_value());
}

TEST(OlmoConfigTest, MemoryLayersStandInEveryBlockByDefault) {
  const ModelDescription model = Parse({});
  ASSERT_TRUE(model.memory.has_value());
  EXPECT_EQ(model.architecture, "ultramem_v2");
  EXPECT_EQ(model.memory->layers.size(), 4u);
  EXPECT_EQ(model.memory->slots, 4 * 256);
  EXPECT_EQ(model.memory->window, 32 * 32);
  EXPECT_EQ(model.memory->key_count, 32);
  EXPECT_EQ(model.memory->heads, 1);
}

TEST(OlmoConfigTest, NullAndAbsentAreDifferentForTheEmbedding) {
  EXPECT_EQ(Parse({{"embedding_size", "null"}}).embedding_size, 200);
  EXPECT_EQ(Parse({{"embedding_size", ""}}).embedding_size, 50304);
}

TEST(OlmoConfigTest, NormsFollowTheirSwitches) {
  const ModelDescription plain = Parse({{"layer_norm_type", "rms"},
                                        {"attention_layer_norm", "true"},
                                        {"include_bias", "false"},
                                        {"layer_norm_with_affine", "false"},
                                        {"bias_for_layer_norm", "true"}});
  EXPECT_EQ(plain.block_norm.kind, NormKind::kRms);
  EXPECT_FALSE(plain.block_norm.weight);
  EXPECT_FALSE(plain.block_norm.bias);
  EXPECT_TRUE(plain.attention.qk_norm->weight);
  EXPECT_TRUE(plain.attention.qk_norm->bias);
  EXPECT_TRUE(plain.memory->query_norm.weight);
  EXPECT_TRUE(plain.memory->query_norm.bias);
  EXPECT_TRUE(plain.memory->keys_norm->bias);
  EXPECT_FALSE(plain.attention.qkv_bias);
  EXPECT_EQ(Parse({{"layer_norm_type", "low_precision"}}).block_norm.kind, NormKind::kLayer);
  EXPECT_FALSE(
      Parse({{"bias_for_layer_norm", "null"}, {"include_bias", "false"}}).memory->query_norm.bias);
}

TEST(OlmoConfigTest, TrainingSettingsAreIgnored) {
  Parse({{"init_std", "0.02"},
         {"init_device", "meta"},
         {"residual_dropout", "0.1"},
         {"mem_output_dropout_rate", "0.1"},
         {"mem_tucker_reg_coef", "[1]"},
         {"vertical_parallel", "true"},
         {"mem_parallel_size", "8"},
         {"mem_final_top_expand_time", "2"},
         {"mem_log_interval", "10"},
         {"mem_tucker_rank_penalty", "0.1"}});
}

TEST(OlmoConfigTest, UnknownSettingsAreRefusedByName) {
  ExpectRefused({{"sliding_window", "8"}}, "model.sliding_window (line ");
  ExpectRefused({{"sliding_window", "8"}}, "unknown key; if it changes nothing");
  ExpectRefused({{"block_group_size", "2"}}, "block groups are not served");
  ExpectRefused({{"<<", "3"}}, "model.<<");
}

TEST(OlmoConfigTest, WhatIsNotServedIsRefusedByName) {
  ExpectRefused({{"rope", ""}}, "model.rope: is false (or absent)");
  ExpectRefused({{"rope", "false"}}, "model.rope (line ");
  ExpectRefused({{"alibi", "true"}}, "ALiBi positions are not served");
  ExpectRefused({{"layer_norm_type", "amd_compatible"}}, "\"amd_compatible\" is not served");
  ExpectRefused({{"activation_type", "silu"}}, "served are: swiglu, gelu, relu");
  ExpectRefused({{"block_type", "parallel"}}, "\"parallel\" is not served");
  ExpectRefused({{"block_type", "llama"}}, "llama blocks have no memory layers");
  ExpectRefused({{"block_type", "llama"}, {"mem_insert_way", "no_mem"}, {"n_kv_heads", "2"}},
                "n_kv_heads is 2 and n_heads is 4");
  ExpectRefused({{"mem_type", "pkm"}}, "served are: ultramem_v2, ultramem_v1, memory_plus");
  ExpectRefused({{"attention_layer_norm_with_affine", "false"}},
                "memory layers need norms with weights");
}

TEST(OlmoConfigTest, ImpossibleSizesAreRefused) {
  ExpectRefused({{"d_model", "0"}}, "model.d_model (line ");
  ExpectRefused({{"d_model", "-64"}}, "-64 is not in [1, ");
  ExpectRefused({{"d_model", "1e9"}}, "expected a whole number");
  ExpectRefused({{"d_model", "4611686018427387904"}}, "is not in [1, ");
  ExpectRefused({{"n_layers", "0"}}, "0 is not in [1, ");
  ExpectRefused({{"n_heads", "5"}}, "5 does not divide d_model 64");
  ExpectRefused({{"n_heads", "64"}}, "is 1, which is odd");
  ExpectRefused({{"n_kv_heads", "3"}}, "3 does not divide n_heads 4");
  ExpectRefused({{"n_kv_heads", "8"}}, "8 does not divide n_heads 4");
  ExpectRefused({{"mlp_hidden_size", "97"}}, "97 is odd");
  ExpectRefused({{"mlp_ratio", "0"}}, "0 is not in [1, ");
  ExpectRefused({{"mlp_ratio", "1000000"}}, "× d_model 64 is more than");
  ExpectRefused({{"vocab_size", "300"}}, "256 is less than vocab_size 300");
  ExpectRefused({{"max_sequence_length", "0"}}, "0 is not in [1, ");
  ExpectRefused({{"layer_norm_eps", "0"}}, "0 is not in (0, 1]");
  ExpectRefused({{"rope_theta", "-1"}}, "-1 is not in (0, ");
  ExpectRefused({{"rope_theta", ".nan"}}, "expected a number");
  ExpectRefused({{"clip_qkv", "0"}}, "0 is not in (0, ");
}

TEST(OlmoConfigTest, TokenIdsOutsideTheVocabularyAreIgnoredWithAWarning) {
  const ModelDescription model = Parse({{"eos_token_id", "250"}, {"pad_token_id", "null"}});
  EXPECT_TRUE(model.eos_token_ids.empty());
  EXPECT_EQ(model.pad_token_id, -1);
  ASSERT_EQ(model.warnings.size(), 1u);
  EXPECT_EQ(model.warnings[0],
            "The config's eos_token_id 250 is not below vocab_size 200 and is ignored.");
}

// The warning must not send its reader to a setting that is not there.
TEST(OlmoConfigTest, ADefaultTokenIdOutsideTheVocabularyIsCalledADefault) {
  const ModelDescription model = Parse({{"eos_token_id", ""}});
  EXPECT_TRUE(model.eos_token_ids.empty());
  ASSERT_EQ(model.warnings.size(), 1u);
  EXPECT_EQ(model.warnings[0],
            "The config has no eos_token_id, and its default 50256 is not below vocab_size 200 and "
            "is ignored.");
}

}  // namespace
}  // namespace mneme::loader
