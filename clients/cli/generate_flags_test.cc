#include "clients/cli/generate_flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace mneme::cli {
namespace {

using ::testing::ElementsAre;

absl::StatusOr<v1::GenerateRequest> Parse(std::vector<std::string> arguments,
                                          const std::string& standard_input = "") {
  GenerateFlags generate;
  FlagTable flags("generate", "", "");
  generate.AddTo(&flags);
  const absl::Status status = flags.Parse(arguments);
  if (!status.ok()) return status;
  std::istringstream in(standard_input);
  return generate.ToRequest(flags.positionals(), in);
}

TEST(GenerateFlagsTest, OnlyThePromptLeavesEverythingToTheServer) {
  const absl::StatusOr<v1::GenerateRequest> request = Parse({"hi there"});
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->text(), "hi there");
  EXPECT_FALSE(request->sampling().has_temperature());
  EXPECT_FALSE(request->sampling().has_seed());
  EXPECT_FALSE(request->stopping().has_max_tokens());
  EXPECT_FALSE(request->has_logprobs());
  EXPECT_FALSE(request->has_n());
}

TEST(GenerateFlagsTest, EveryFlagArrives) {
  const absl::StatusOr<v1::GenerateRequest> request = Parse({"--prompt-ids",
                                                             "1 2 3",
                                                             "--max-tokens=9",
                                                             "--min-tokens=2",
                                                             "--temperature=0.5",
                                                             "--top-p=0.9",
                                                             "--top-k=-1",
                                                             "--min-p=0.1",
                                                             "--repetition-penalty=1.2",
                                                             "--presence-penalty=0.3",
                                                             "--frequency-penalty=-0.4",
                                                             "--logit-bias",
                                                             "5=-100",
                                                             "--logit-bias=6=1.5",
                                                             "--seed=42",
                                                             "--stop=a",
                                                             "--stop=b c",
                                                             "--stop-token-ids=7,8",
                                                             "--ignore-eos",
                                                             "--include-stop-str-in-output",
                                                             "--logprobs=0",
                                                             "--prompt-logprobs=3",
                                                             "--n=2",
                                                             "--echo",
                                                             "--skip-special-tokens=false",
                                                             "--add-special-tokens=false",
                                                             "--token-ids-only",
                                                             "--request-id=r"});
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_THAT(request->token_ids().ids(), ElementsAre(1, 2, 3));
  const v1::SamplingParams& sampling = request->sampling();
  EXPECT_EQ(sampling.temperature(), 0.5f);
  EXPECT_EQ(sampling.top_p(), 0.9f);
  EXPECT_EQ(sampling.top_k(), -1);
  EXPECT_EQ(sampling.min_p(), 0.1f);
  EXPECT_EQ(sampling.repetition_penalty(), 1.2f);
  EXPECT_EQ(sampling.presence_penalty(), 0.3f);
  EXPECT_EQ(sampling.frequency_penalty(), -0.4f);
  EXPECT_EQ(sampling.seed(), 42u);
  EXPECT_EQ(sampling.logit_bias().at(5), -100.0f);
  EXPECT_EQ(sampling.logit_bias().at(6), 1.5f);
  const v1::StopParams& stopping = request->stopping();
  EXPECT_EQ(stopping.max_tokens(), 9);
  EXPECT_EQ(stopping.min_tokens(), 2);
  EXPECT_THAT(stopping.stop(), ElementsAre("a", "b c"));
  EXPECT_THAT(stopping.stop_token_ids(), ElementsAre(7, 8));
  EXPECT_TRUE(stopping.ignore_eos());
  EXPECT_TRUE(stopping.include_stop_str_in_output());
  EXPECT_EQ(request->logprobs(), 0);
  EXPECT_EQ(request->prompt_logprobs(), 3);
  EXPECT_EQ(request->n(), 2);
  EXPECT_TRUE(request->echo());
  EXPECT_FALSE(request->skip_special_tokens());
  EXPECT_FALSE(request->add_special_tokens());
  EXPECT_TRUE(request->token_ids_only());
  EXPECT_EQ(request->request_id(), "r");
}

TEST(GenerateFlagsTest, ThePromptMayComeFromAFileOrStandardInput) {
  EXPECT_EQ(Parse({"-"}, "from\nstdin")->text(), "from\nstdin");
  const std::string path = ::testing::TempDir() + "/prompt.txt";
  std::ofstream(path) << "from a file";
  EXPECT_EQ(Parse({"--prompt-file", path})->text(), "from a file");
}

TEST(GenerateFlagsTest, MistakesAreNamed) {
  EXPECT_EQ(Parse({}).status().message(),
            "a prompt is needed: PROMPT, - for standard input, --prompt-file or --prompt-ids");
  EXPECT_EQ(Parse({"a", "--prompt-ids=1"}).status().message(),
            "PROMPT, --prompt-file and --prompt-ids exclude one another");
  EXPECT_EQ(Parse({"--prompt-ids=1 x"}).status().message(), "--prompt-ids: 'x' is not an integer");
  EXPECT_EQ(Parse({"a", "--logit-bias=5"}).status().message(), "--logit-bias: '5' is not ID=VALUE");
  EXPECT_THAT(std::string(Parse({"--prompt-file=/nowhere"}).status().message()),
              testing::HasSubstr("--prompt-file: /nowhere: "));
  EXPECT_THAT(std::string(Parse({"--prompt-file", testing::TempDir()}).status().message()),
              testing::HasSubstr("--prompt-file: " + testing::TempDir()));
  EXPECT_EQ(Parse({"a\xff"}).status().message(), "the prompt is not valid UTF-8: byte 1 of 2");
}

}  // namespace
}  // namespace mneme::cli
