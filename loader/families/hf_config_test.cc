#include "loader/families/hf_config.h"

#include <map>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using Keys = std::map<std::string, std::string>;

const char kOlmoe[] = "OlmoeForCausalLM";
const char kMixtral[] = "MixtralForCausalLM";
const char kQwen2[] = "Qwen2MoeForCausalLM";
const char kQwen3[] = "Qwen3MoeForCausalLM";

// The least that a family's config must have; `changes` replaces, adds, or (empty) removes keys.
std::string Config(const std::string& family, const Keys& changes) {
  Keys keys = {{"architectures", "[\"" + family + "\"]"},
               {"hidden_size", "64"},
               {"num_hidden_layers", "4"},
               {"num_attention_heads", "8"},
               {"num_key_value_heads", "2"},
               {"vocab_size", "100"},
               {"max_position_embeddings", "512"},
               {"intermediate_size", "48"},
               {"num_experts", "16"}};
  if (family == kQwen2 || family == kQwen3) keys["moe_intermediate_size"] = "24";
  if (family == kQwen2) keys["shared_expert_intermediate_size"] = "40";
  for (const auto& [key, value] : changes) keys[key] = value;
  std::string text;
  for (const auto& [key, value] : keys) {
    if (!value.empty()) text += (text.empty() ? "{\"" : ",\"") + key + "\":" + value;
  }
  return text + "}";
}

ModelDescription Parse(const std::string& family, const Keys& changes,
                       const std::set<std::string>& ignored = {}) {
  const auto model = ParseHfConfig(Config(family, changes), "config.json", ignored);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *model : ModelDescription{};
}

std::string Error(const std::string& family, const Keys& changes,
                  const std::set<std::string>& ignored = {}) {
  const auto model = ParseHfConfig(Config(family, changes), "config.json", ignored);
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(model.status().message());
}

TEST(HfConfigTest, AbsentKeysHaveTheFamilysDefaults) {
  const ModelDescription olmoe = Parse(kOlmoe, {{"num_key_value_heads", ""}});
  EXPECT_EQ(olmoe.family, "hf_moe");
  EXPECT_EQ(olmoe.architecture, "olmoe");
  EXPECT_EQ(olmoe.attention.kv_heads, 8);
  EXPECT_EQ(olmoe.attention.head_dim, 8);
  EXPECT_EQ(olmoe.block_norm.eps, 1e-5f);
  EXPECT_EQ(olmoe.attention.rope.theta, 10000.0f);
  EXPECT_TRUE(olmoe.attention.qk_norm_whole);
  EXPECT_FALSE(olmoe.attention.qkv_bias);
  EXPECT_FALSE(olmoe.attention.clip_qkv.has_value());
  EXPECT_EQ(olmoe.moe->top_k, 8);
  EXPECT_EQ(olmoe.moe->hidden, 48);
  EXPECT_FALSE(olmoe.moe->renormalise);
  EXPECT_FALSE(olmoe.tied_head);
  EXPECT_THAT(olmoe.attention.windows, IsEmpty());

  const ModelDescription mixtral = Parse(kMixtral, {});
  EXPECT_EQ(mixtral.architecture, "mixtral");
  EXPECT_EQ(mixtral.attention.rope.theta, 1e6f);
  EXPECT_EQ(mixtral.moe->top_k, 2);
  EXPECT_TRUE(mixtral.moe->renormalise);
  EXPECT_FALSE(mixtral.attention.qk_norm.has_value());

  const ModelDescription qwen2 = Parse(kQwen2, {});
  EXPECT_EQ(qwen2.architecture, "qwen2_moe");
  EXPECT_EQ(qwen2.block_norm.eps, 1e-6f);
  EXPECT_TRUE(qwen2.attention.qkv_bias);
  EXPECT_FALSE(qwen2.attention.out_bias);
  EXPECT_EQ(qwen2.moe->top_k, 4);
  EXPECT_EQ(qwen2.moe->hidden, 24);
  EXPECT_EQ(qwen2.moe->shared_hidden, 40);
  EXPECT_THAT(qwen2.moe->dense_blocks, IsEmpty());

  const ModelDescription qwen3 = Parse(kQwen3, {});
  EXPECT_EQ(qwen3.architecture, "qwen3_moe");
  EXPECT_EQ(qwen3.moe->top_k, 8);
  EXPECT_FALSE(qwen3.moe->renormalise);
  EXPECT_TRUE(qwen3.attention.qk_norm.has_value());
  EXPECT_FALSE(qwen3.attention.qk_norm_whole);
  EXPECT_EQ(qwen3.moe->shared_hidden, 0);
}

TEST(HfConfigTest, KeysAreHonoured) {
  const ModelDescription model = Parse(kOlmoe, {{"clip_qkv", "1.5"},
                                                {"attention_bias", "true"},
                                                {"norm_topk_prob", "true"},
                                                {"num_experts_per_tok", "3"},
                                                {"rms_norm_eps", "1e-6"},
                                                {"rope_theta", "500000.0"},
                                                {"tie_word_embeddings", "true"},
                                                {"eos_token_id", "[7, 9]"},
                                                {"pad_token_id", "1"}});
  EXPECT_EQ(model.attention.clip_qkv, 1.5f);
  EXPECT_TRUE(model.attention.clip_after_norm);
  EXPECT_TRUE(model.attention.qkv_bias);
  EXPECT_TRUE(model.attention.out_bias);
  EXPECT_TRUE(model.moe->renormalise);
  EXPECT_EQ(model.moe->top_k, 3);
  EXPECT_EQ(model.final_norm.eps, 1e-6f);
  EXPECT_EQ(model.attention.qk_norm->eps, 1e-6f);
  EXPECT_EQ(model.attention.rope.theta, 500000.0f);
  EXPECT_TRUE(model.tied_head);
  EXPECT_THAT(model.eos_token_ids, ElementsAre(7, 9));
  EXPECT_EQ(model.pad_token_id, 1);
  EXPECT_EQ(Parse(kQwen3, {{"head_dim", "24"}}).attention.head_dim, 24);
  EXPECT_EQ(Parse(kQwen3, {{"head_dim", "null"}}).attention.head_dim, 8);
  EXPECT_FALSE(Parse(kQwen2, {{"qkv_bias", "false"}}).attention.qkv_bias);
  EXPECT_EQ(Parse(kQwen3, {{"num_experts", ""}, {"num_local_experts", "12"}}).moe->experts, 12);
}

TEST(HfConfigTest, BlocksWithoutExperts) {
  EXPECT_THAT(Parse(kQwen2, {{"decoder_sparse_step", "2"}}).moe->dense_blocks, ElementsAre(0, 2));
  EXPECT_THAT(Parse(kQwen3, {{"mlp_only_layers", "[3, 0]"}}).moe->dense_blocks, ElementsAre(0, 3));
  EXPECT_THAT(Parse(kQwen3, {{"mlp_only_layers", "null"}}).moe->dense_blocks, IsEmpty());
  EXPECT_FALSE(Parse(kQwen3, {{"decoder_sparse_step", "5"}}).moe.has_value());
  EXPECT_EQ(Parse(kQwen3, {{"decoder_sparse_step", "5"}}).ffn.hidden, 48);
}

TEST(HfConfigTest, Windows) {
  EXPECT_THAT(Parse(kMixtral, {{"sliding_window", "9"}}).attention.windows,
              ElementsAre(9, 9, 9, 9));
  EXPECT_THAT(Parse(kMixtral, {{"sliding_window", "null"}}).attention.windows, IsEmpty());
  EXPECT_THAT(Error(kMixtral, {{"sliding_window", "0"}}), HasSubstr("sliding_window: 0 is not in"));
  EXPECT_THAT(Parse(kOlmoe, {{"sliding_window", "null"}}).attention.windows, IsEmpty());
  EXPECT_THAT(Error(kOlmoe, {{"sliding_window", "9"}}),
              HasSubstr("sliding_window: 9: OLMoE has no sliding window"));

  const Keys used = {{"use_sliding_window", "true"}, {"sliding_window", "9"}};
  EXPECT_THAT(Parse(kQwen3, {{"sliding_window", "9"}}).attention.windows, IsEmpty());
  EXPECT_THAT(Parse(kQwen3, used).attention.windows, ElementsAre(9, 9, 9, 9));
  EXPECT_EQ(Parse(kQwen3, {{"use_sliding_window", "true"}}).attention.windows[0], 4096);
  EXPECT_THAT(
      Parse(kQwen3, {{"use_sliding_window", "true"}, {"sliding_window", "null"}}).attention.windows,
      IsEmpty());

  // Even blocks below max_window_layers.
  EXPECT_THAT(Parse(kQwen2, used).attention.windows, ElementsAre(9, 0, 9, 0));
  Keys below = used;
  below["max_window_layers"] = "2";
  EXPECT_THAT(Parse(kQwen2, below).attention.windows, ElementsAre(9, 0, 0, 0));
  Keys listed = used;
  listed["layer_types"] =
      R"(["full_attention","sliding_attention","sliding_attention","full_attention"])";
  EXPECT_THAT(Parse(kQwen2, listed).attention.windows, ElementsAre(0, 9, 9, 0));
  listed["use_sliding_window"] = "false";
  EXPECT_THAT(Error(kQwen2, listed), HasSubstr("layer_types: has sliding_attention, but"));
  EXPECT_THAT(Error(kQwen2, {{"use_sliding_window", "true"}, {"sliding_window", "null"}}),
              HasSubstr("sliding_window: is null"));
  EXPECT_THAT(Error(kQwen2, {{"layer_types", R"(["full_attention"])"}}),
              HasSubstr("layer_types: has 1 entries for 4 layers"));
  EXPECT_THAT(Error(kQwen2, {{"layer_types", R"(["full_attention","x","x","x"])"}}),
              HasSubstr("layer_types: \"x\" is not served"));
  EXPECT_THAT(Parse(kQwen2, {{"sliding_window", "0"}}).attention.windows, IsEmpty());
}

TEST(HfConfigTest, RefusesByName) {
  const std::string names[][3] = {
      {"architectures", "[\"LlamaForCausalLM\"]",
       "architectures: \"LlamaForCausalLM\" is not served"},
      {"architectures", "", "architectures: names no class; served are: OlmoeForCausalLM, Mixtral"},
      {"architectures", "null", "architectures: names no class"},
      {"architectures", "[\"OlmoeForCausalLM\",\"MixtralForCausalLM\"]",
       "architectures: \"OlmoeForCausalLM\" and \"MixtralForCausalLM\": not one name but several"},
      {"model_type", "\"mixtral\"",
       "model_type: \"mixtral\" is not that of OlmoeForCausalLM, \"olmoe\""},
      {"quantization_config", "{\"bits\":4}", "quantization_config: quantised"},
      {"hidden_act", "\"gelu\"", "hidden_act: \"gelu\" is not served; served are: silu"},
      {"hidden_size", "", "hidden_size: is missing"},
      {"hidden_size", "\"64\"", "hidden_size: expected a whole number, not \"64\""},
      {"hidden_size", "0", "hidden_size: 0 is not in [1, "},
      {"num_hidden_layers", "", "num_hidden_layers: is missing"},
      {"vocab_size", "", "vocab_size: is missing"},
      {"max_position_embeddings", "", "max_position_embeddings: is missing"},
      {"num_attention_heads", "7", "num_key_value_heads: 2 does not divide"},
      {"head_dim", "16", "head_dim: 16 is not hidden_size / num_attention_heads 8"},
      {"num_experts", "", "num_experts: is missing"},
      {"num_experts", "2000", "num_experts: 2000 is not in [1, 1024]"},
      {"num_local_experts", "5", "num_experts: 16 is not the same as num_local_experts 5"},
      {"num_experts_per_tok", "17", "num_experts_per_tok: 17 is more than the 16 experts"},
      {"intermediate_size", "", "intermediate_size: is missing"},
      {"partial_rotary_factor", "0.5", "partial_rotary_factor: 0.5 is not served"},
      {"layer_types", "[]", "layer_types: unknown key"},
      {"sliding_window", "4096", "sliding_window: 4096: OLMoE has no sliding window"},
      {"sliding_window", "true", "sliding_window: expected a whole number, not \"true\""},
      {"logit_scale", "2.0",
       "logit_scale: unknown key; if it changes nothing, "
       "--ignore-config-key \"logit_scale\" accepts it"},
      {"rms_norm_eps", "null", "rms_norm_eps: is null"},
      {"eos_token_id", "[null]", "eos_token_id: expected a whole number, not null"},
      {"tie_word_embeddings", "\"false\"", "tie_word_embeddings: expected true or false"},
  };
  for (const auto& [key, value, message] : names) {
    EXPECT_THAT(Error(kOlmoe, {{key, value}}), AllOf(HasSubstr("config.json: " + message)));
  }
  EXPECT_THAT(Error(kMixtral, {{"num_key_value_heads", ""}}),
              HasSubstr("num_key_value_heads: is missing"));
  EXPECT_THAT(Error(kMixtral, {{"num_key_value_heads", "null"}}),
              HasSubstr("num_key_value_heads: is null"));
  EXPECT_THAT(Error(kQwen2, {{"num_experts", ""}, {"num_local_experts", "12"}}),
              HasSubstr("num_experts: is missing"));
  EXPECT_THAT(Error(kQwen2, {{"shared_expert_intermediate_size", ""}}),
              HasSubstr("shared_expert_intermediate_size: is missing"));
  // A key of another family.
  EXPECT_THAT(Error(kMixtral, {{"clip_qkv", "1.0"}}), HasSubstr("clip_qkv: unknown key"));
}

// [7, 7, …] of so many.
std::string Sevens(int count) {
  std::string list = "[7";
  for (int i = 1; i < count; ++i) list += ",7";
  return list + "]";
}

TEST(HfConfigTest, ListsAreBounded) {
  EXPECT_EQ(Parse(kOlmoe, {{"eos_token_id", Sevens(64)}}).eos_token_ids.size(), 64u);
  EXPECT_EQ(Error(kOlmoe, {{"eos_token_id", Sevens(65)}}),
            "config.json: eos_token_id: 65 ids, at most 64 are read");
  EXPECT_THAT(Parse(kQwen3, {{"mlp_only_layers", "[3, 0, 3]"}}).moe->dense_blocks,
              ElementsAre(0, 3));
  Parse(kQwen3, {{"mlp_only_layers", Sevens(4096)}});
  EXPECT_EQ(Error(kQwen3, {{"mlp_only_layers", Sevens(4097)}}),
            "config.json: mlp_only_layers: has 4097 entries; at most 4096 are read");
}

TEST(HfConfigTest, HarmlessKeysAreAccepted) {
  Parse(kMixtral, {{"attention_dropout", "0.1"},
                   {"initializer_range", "0.02"},
                   {"output_router_logits", "true"},
                   {"router_aux_loss_coef", "0.02"},
                   {"router_jitter_noise", "0.1"},
                   {"use_cache", "false"},
                   {"transformers_version", "\"5.0\""},
                   {"model_type", "\"mixtral\""},
                   {"torch_dtype", "\"bfloat16\""},
                   {"dtype", "\"float32\""},
                   {"_name_or_path", "\"x\""},
                   {"auto_map", "{\"AutoModel\":\"x\"}"},
                   {"bos_token_id", "1"},
                   {"sep_token_id", "null"},
                   {"decoder_start_token_id", "7"},
                   {"quantization_config", "null"}});
}

TEST(HfConfigTest, OtherCodeIsWarnedOf) {
  const ModelDescription model = Parse(kMixtral, {{"auto_map", "{\"AutoModel\":\"x\"}"}});
  ASSERT_EQ(model.warnings.size(), 1u);
  EXPECT_THAT(model.warnings[0], HasSubstr("auto_map names code of the checkpoint's own"));
}

TEST(HfConfigTest, AWindowThatNothingFillsIsAsLongAsTheContext) {
  const Keys far = {{"sliding_window", "1000000000000"}};
  EXPECT_THAT(Parse(kMixtral, far).attention.windows, ElementsAre(512, 512, 512, 512));
  EXPECT_THAT(Parse(kQwen2, far).attention.windows, IsEmpty());
  Keys used = far;
  used["use_sliding_window"] = "true";
  used["max_window_layers"] = "1000000";
  EXPECT_THAT(Parse(kQwen2, used).attention.windows, ElementsAre(512, 0, 512, 0));
  EXPECT_THAT(Error(kMixtral, {{"sliding_window", "0"}}),
              HasSubstr("sliding_window: 0 is not in [1"));
}

TEST(HfConfigTest, SlidingStopsAtLayer28WhereNothingElseIsSaid) {
  const ModelDescription model =
      Parse(kQwen2, {{"use_sliding_window", "true"}, {"num_hidden_layers", "32"}});
  EXPECT_EQ(model.attention.windows[26], 4096);
  EXPECT_EQ(model.attention.windows[28], 0);
}

TEST(HfConfigTest, AKeyCanBeIgnored) {
  Parse(kOlmoe, {{"logit_scale", "2.0"}}, {"logit_scale", "not_there"});
  EXPECT_THAT(Error(kOlmoe, {{"clip_qkv", "2.0"}}, {"clip_qkv"}),
              HasSubstr("clip_qkv: --ignore-config-key: this key is read"));
  EXPECT_THAT(Error(kOlmoe, {{"rope_scaling", "null"}}, {"rope_scaling"}),
              HasSubstr("rope_scaling: --ignore-config-key: this key is read"));
  // What is not read may be ignored.
  Parse(kQwen3, {{"max_window_layers", "2"}, {"use_cache", "true"}},
        {"max_window_layers", "use_cache"});
  EXPECT_THAT(Error(kOlmoe, {{"quantization_config", "{}"}}, {"quantization_config"}),
              HasSubstr("quantization_config: quantised"));
}

TEST(HfConfigTest, TokensThatTheModelLacksAreIgnoredAloud) {
  const ModelDescription model = Parse(kOlmoe, {{"eos_token_id", "100"}, {"pad_token_id", "-1"}});
  EXPECT_THAT(model.eos_token_ids, IsEmpty());
  EXPECT_EQ(model.pad_token_id, -1);
  ASSERT_EQ(model.warnings.size(), 1u);
  EXPECT_EQ(model.warnings[0],
            "The config's eos_token_id 100 is not below vocab_size 100 and is ignored.");
}

}  // namespace
}  // namespace mneme::loader
