#include "clients/cli/model_flags.h"

#include <gtest/gtest.h>

namespace mneme::cli {
namespace {

absl::StatusOr<ModelOptions> Parse(std::vector<std::string> arguments) {
  ModelFlags model_flags;
  FlagTable flags("serve", "", "");
  model_flags.AddTo(&flags, "The model.");
  const absl::Status status = flags.Parse(arguments);
  if (!status.ok()) return status;
  return model_flags.ToOptions();
}

TEST(ModelFlagsTest, DefaultsAreTheEngines) {
  const absl::StatusOr<ModelOptions> options = Parse({});
  ASSERT_TRUE(options.ok()) << options.status();
  const ModelOptions defaults;
  EXPECT_EQ(options->max_step_tokens, defaults.max_step_tokens);
  EXPECT_EQ(options->max_sequences, defaults.max_sequences);
  EXPECT_EQ(options->max_model_len, defaults.max_model_len);
  EXPECT_EQ(options->kv_cache_bytes, defaults.kv_cache_bytes);
  EXPECT_EQ(options->kv_block_tokens, defaults.kv_block_tokens);
  EXPECT_EQ(options->isa, defaults.isa);
  EXPECT_FALSE(options->round_to_bf16 || options->widen_to_f32 || options->reference_kernels);
  EXPECT_FALSE(options->huge_pages);
}

TEST(ModelFlagsTest, EveryFlagArrives) {
  const absl::StatusOr<ModelOptions> options =
      Parse({"--model", "d", "--weights=bf16", "--isa=portable", "--kernels=reference",
             "--max-step-tokens=64", "--max-sequences=3", "--kv-cache-mb=5", "--kv-block-tokens=32",
             "--max-model-len=100", "--memory-per-rank=7", "--huge-pages", "--ignore-config-key=a",
             "--ignore-config-key=rope_scaling.b"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->model_directory, "d");
  EXPECT_EQ(options->inspect.ignored_config_keys, (std::set<std::string>{"a", "rope_scaling.b"}));
  EXPECT_TRUE(options->round_to_bf16);
  EXPECT_EQ(options->isa, kernels::Isa::kPortable);
  EXPECT_TRUE(options->reference_kernels);
  EXPECT_TRUE(options->huge_pages);
  EXPECT_EQ(options->max_step_tokens, 64);
  EXPECT_EQ(options->max_sequences, 3);
  EXPECT_EQ(options->kv_cache_bytes, 5 << 20);
  EXPECT_EQ(options->max_model_len, 100);
  EXPECT_EQ(options->memory_per_rank_bytes, 7 << 20);
  EXPECT_EQ(options->kv_block_tokens, 32);
  EXPECT_TRUE(Parse({"--weights=f32"})->widen_to_f32);
}

TEST(ModelFlagsTest, LayoutsArePins) {
  using plan::LayoutPins;
  EXPECT_EQ(Parse({})->pins.weights, LayoutPins::Weights::kFree);
  EXPECT_EQ(Parse({})->pins.tables, LayoutPins::Tables::kFree);
  const absl::StatusOr<ModelOptions> options = Parse(
      {"--layout", "split", "--layout=block.*.ffn.up=(B, S(0)) -> S(1)", "--table-layout=columns"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->pins.weights, LayoutPins::Weights::kSplit);
  EXPECT_EQ(options->pins.tables, LayoutPins::Tables::kColumns);
  ASSERT_EQ(options->pins.operators.size(), 1u);
  EXPECT_EQ(options->pins.operators[0].name, "block.*.ffn.up");
  EXPECT_EQ(options->pins.operators[0].signature, "(B, S(0)) -> S(1)");
  EXPECT_EQ(Parse({"--table-layout=rows"})->pins.tables, LayoutPins::Tables::kRows);
  EXPECT_EQ(Parse({"--table-layout=selections"})->pins.tables, LayoutPins::Tables::kSelections);
  EXPECT_EQ(Parse({"--layout=rows"}).status().message(),
            "--layout: 'rows' is none of free, split, OPERATOR=SIGNATURE");
  EXPECT_EQ(Parse({"--prefill-layout=rows"})->pins.large_steps, LayoutPins::LargeSteps::kRows);
  EXPECT_EQ(Parse({"--prefill-layout=same"})->pins.large_steps, LayoutPins::LargeSteps::kSame);
  EXPECT_EQ(Parse({"--prefill-layout=tokens"}).status().message(),
            "--prefill-layout: 'tokens' is none of free, same, rows");
  EXPECT_EQ(Parse({"--expert-layout=experts"})->pins.experts, LayoutPins::Experts::kWhole);
  EXPECT_EQ(Parse({"--expert-layout=width"})->pins.experts, LayoutPins::Experts::kWidth);
  EXPECT_EQ(Parse({"--expert-layout=hidden"}).status().message(),
            "--expert-layout: 'hidden' is none of free, experts, width");
  EXPECT_EQ(Parse({"--table-layout=cols"}).status().message(),
            "--table-layout: 'cols' is none of free, rows, columns, selections");
}

TEST(ModelFlagsTest, ImpossibleValuesAreNamed) {
  EXPECT_EQ(Parse({"--weights=f16"}).status().message(),
            "--weights: 'f16' is none of f32, bf16, stored");
  EXPECT_EQ(Parse({"--isa=sse"}).status().message(),
            "--isa: 'sse' is none of portable, avx2, avx512, best");
  EXPECT_EQ(Parse({"--kernels=gpu"}).status().message(),
            "--kernels: 'gpu' is none of simd, reference");
  EXPECT_EQ(Parse({"--max-sequences=0"}).status().message(),
            "--max-sequences: 0 is not in [1, 4096]");
  EXPECT_EQ(Parse({"--max-sequences=4097"}).status().message(),
            "--max-sequences: 4097 is not in [1, 4096]");
  EXPECT_EQ(Parse({"--max-step-tokens=-1"}).status().message(),
            "--max-step-tokens: -1 is not in [1, 1048576]");
  EXPECT_EQ(Parse({"--max-model-len=-1"}).status().message(),
            "--max-model-len: -1 is not in [0, 16777216]");
  EXPECT_EQ(Parse({"--kv-cache-mb=-1"}).status().message(),
            "--kv-cache-mb: -1 is not in [0, 4294967296]");
  EXPECT_EQ(Parse({"--kv-block-tokens=0"}).status().message(),
            "--kv-block-tokens: 0 is not in [16, 1048576]");
  EXPECT_EQ(Parse({"--kv-block-tokens=20"}).status().message(),
            "--kv-block-tokens: 20 is not a multiple of 16");
}

}  // namespace
}  // namespace mneme::cli
