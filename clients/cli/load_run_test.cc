#include "clients/cli/load_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/server.h"
#include "server/test_engine.h"

namespace mneme::cli {
namespace {

using ::testing::HasSubstr;

TEST(LoadPromptTest, IsTheSameForTheSameSeedOnly) {
  const LoadOptions options{.prompt_tokens = 50};
  const std::vector<int32_t> prompt = LoadPrompt(options, 3, 100);
  EXPECT_EQ(prompt.size(), 50u);
  EXPECT_THAT(prompt, ::testing::Each(::testing::AllOf(::testing::Ge(1), ::testing::Lt(100))));
  EXPECT_EQ(prompt, LoadPrompt(options, 3, 100));
  EXPECT_NE(prompt, LoadPrompt(options, 4, 100));
  EXPECT_NE(prompt, LoadPrompt({.prompt_tokens = 50, .seed = 2}, 3, 100));
}

TEST(RunLoadTest, RunsEveryRequestAndSaysHowItWent) {
  server::TestEngine engine({.token_period = std::chrono::microseconds(50)});
  server::ServerOptions server_options;
  server_options.listen = "127.0.0.1:0";
  const auto server = server::Server::Start(server_options, &engine);
  ASSERT_TRUE(server.ok()) << server.status();
  const auto client = client::Client::Connect({.address = (*server)->address()});
  ASSERT_TRUE(client.ok()) << client.status();
  const auto result = RunLoad(
      client->get(), {.streams = 3, .requests = 10, .prompt_tokens = 5, .output_tokens = 7});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->runs.size(), 10u);
  EXPECT_EQ(result->after.output_tokens_total() - result->before.output_tokens_total(), 70);
  EXPECT_THAT(LoadTable(*result), HasSubstr("50 prompt, 70 output"));

  const auto failed = RunLoad(client->get(), {.streams = 2, .requests = 4, .prompt_tokens = 0});
  EXPECT_EQ(failed.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace mneme::cli
