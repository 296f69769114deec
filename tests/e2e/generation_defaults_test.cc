// A folder's generation_config.json says what absent fields of a request take: seen through gRPC.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/process.h"
#include "tests/e2e/served_model.h"

namespace mneme::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kPrompt[] = "hacker: n.";
constexpr int32_t kTokens = 24;

// A copy of the demo model with this generation_config.json.
std::string DemoCopy(const std::string& generation_config) {
  const std::string directory = ::testing::TempDir() + "/generation_defaults";
  std::filesystem::remove_all(directory);
  std::filesystem::create_directories(directory);
  for (const auto& entry : std::filesystem::directory_iterator(kDemoModel)) {
    std::filesystem::create_symlink(std::filesystem::canonical(entry.path()),
                                    std::filesystem::path(directory) / entry.path().filename());
  }
  std::ofstream(directory + "/generation_config.json") << generation_config;
  return directory;
}

// A request that leaves all of its sampling fields but the seed out.
v1::GenerateRequest Sampled(uint64_t seed) {
  v1::GenerateRequest request = TextRequest(kPrompt, kTokens);
  request.mutable_sampling()->set_seed(seed);
  request.mutable_stopping()->set_ignore_eos(true);
  return request;
}

client::GenerateResult::Choice Generate(ServedModel* served, const v1::GenerateRequest& request) {
  const auto result = served->client().Generate(request, {}, nullptr);
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? result->choices.at(0) : client::GenerateResult::Choice();
}

std::vector<int32_t> Ids(ServedModel* served, const v1::GenerateRequest& request) {
  return Generate(served, request).token_ids;
}

// The model with defaults, and without.
class GenerationDefaultsTest : public ::testing::Test {
 protected:
  void Serve(const std::string& generation_config) {
    served_ = std::make_unique<ServedModel>(DemoCopy(generation_config));
    ASSERT_TRUE(served_->status().ok()) << served_->status();
    plain_ = std::make_unique<ServedModel>(std::string(kDemoModel));
    ASSERT_TRUE(plain_->status().ok()) << plain_->status();
    greedy_ = Ids(plain_.get(), Greedy(TextRequest(kPrompt, kTokens)));
    ASSERT_EQ(greedy_.size(), static_cast<size_t>(kTokens));
    // Else a test that compares with it would say nothing.
    ASSERT_NE(Ids(plain_.get(), Sampled(1)), greedy_);
  }

  std::unique_ptr<ServedModel> served_, plain_;
  std::vector<int32_t> greedy_;
};

TEST_F(GenerationDefaultsTest, NotToSampleIsGreedyUnlessTheRequestHasATemperature) {
  Serve(R"({"do_sample": false, "temperature": 0.9})");
  EXPECT_EQ(Ids(served_.get(), Sampled(1)), greedy_);
  v1::GenerateRequest warm = Sampled(1);
  warm.mutable_sampling()->set_temperature(1);
  EXPECT_EQ(Ids(served_.get(), warm), Ids(plain_.get(), Sampled(1)));
  EXPECT_EQ(served_->client().GetModel()->default_sampling().temperature(), 0);
  EXPECT_EQ(plain_->client().GetModel()->default_sampling().temperature(), 1);
}

TEST_F(GenerationDefaultsTest, TheLikeliestTokenUnlessTheRequestSaysAll) {
  Serve(R"({"top_k": 1})");
  EXPECT_EQ(Ids(served_.get(), Sampled(1)), greedy_);
  v1::GenerateRequest all = Sampled(1);
  all.mutable_sampling()->set_top_k(0);
  EXPECT_EQ(Ids(served_.get(), all), Ids(plain_.get(), Sampled(1)));
}

TEST_F(GenerationDefaultsTest, EveryFieldIsTakenAndReported) {
  Serve(R"({"do_sample": true, "temperature": 0.8, "top_p": 0.9, "top_k": 50, "min_p": 0.02,
            "repetition_penalty": 1.3, "max_new_tokens": 7})");
  const auto model = served_->client().GetModel();
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->default_sampling().temperature(), 0.8f);
  EXPECT_EQ(model->default_sampling().top_p(), 0.9f);
  EXPECT_EQ(model->default_sampling().top_k(), 50);
  EXPECT_EQ(model->default_sampling().min_p(), 0.02f);
  EXPECT_EQ(model->default_sampling().repetition_penalty(), 1.3f);
  EXPECT_EQ(model->default_sampling().presence_penalty(), 0);
  EXPECT_EQ(model->default_max_tokens(), 7);
  EXPECT_FALSE(plain_->client().GetModel()->has_default_max_tokens());

  for (uint64_t seed = 1; seed <= 5; ++seed) {
    v1::GenerateRequest spelled_out = Sampled(seed);
    v1::SamplingParams* sampling = spelled_out.mutable_sampling();
    sampling->set_temperature(0.8f);
    sampling->set_top_p(0.9f);
    sampling->set_top_k(50);
    sampling->set_min_p(0.02f);
    sampling->set_repetition_penalty(1.3f);
    const std::vector<int32_t> expected = Ids(plain_.get(), spelled_out);
    EXPECT_EQ(Ids(served_.get(), Sampled(seed)), expected) << seed;
    EXPECT_NE(Ids(plain_.get(), Sampled(seed)), expected) << seed;
  }
  // A request that is greedy in every respect stays so.
  EXPECT_EQ(Ids(served_.get(), Greedy(TextRequest(kPrompt, kTokens))), greedy_);

  v1::GenerateRequest open = Sampled(1);
  open.mutable_stopping()->clear_max_tokens();
  const auto choice = Generate(served_.get(), open);
  EXPECT_EQ(choice.token_ids.size(), 7u);
  EXPECT_EQ(choice.finish_reason, v1::LENGTH);
}

TEST_F(GenerationDefaultsTest, ALongDefaultIsWhatTheContextLeaves) {
  Serve(R"({"max_new_tokens": 1000000, "do_sample": false})");
  const int32_t context = served_->client().GetModel()->max_sequence_length();
  v1::GenerateRequest open = Sampled(1);
  open.mutable_stopping()->clear_max_tokens();
  const auto result = served_->client().Generate(open, {}, nullptr);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->usage.output_tokens(), context - result->usage.prompt_tokens());
}

TEST_F(GenerationDefaultsTest, ItsEosIdsReplaceTheConfigs) {
  Serve("{}");
  // Greedy output stops where this token of its own first comes.
  const int32_t stop = greedy_[kTokens / 2];
  const std::vector<int32_t> before(greedy_.begin(), std::ranges::find(greedy_, stop));
  ASSERT_FALSE(before.empty());
  served_.reset();
  Serve("{\"eos_token_id\": [4095, " + std::to_string(stop) + "]}");
  EXPECT_THAT(served_->client().GetModel()->eos_token_ids(), ElementsAre(4095, stop));
  v1::GenerateRequest request = Greedy(TextRequest(kPrompt, kTokens));
  EXPECT_EQ(Ids(served_.get(), request), greedy_);
  request.mutable_stopping()->set_ignore_eos(false);
  const auto choice = Generate(served_.get(), request);
  EXPECT_EQ(choice.token_ids, before);
  EXPECT_EQ(choice.finish_reason, v1::STOP);
  EXPECT_EQ(choice.stop_token_id, stop);
}

TEST(GenerationDefaultsServeTest, WarnsOfWhatItDoesNotDo) {
  Process process({"serve", "--listen=127.0.0.1:0", "--model",
                   DemoCopy(R"({"num_beams": 4, "no_repeat_ngram_size": 3})")});
  const auto client = ConnectTo(&process);
  ASSERT_NE(client, nullptr);
  EXPECT_TRUE(
      process.WaitForErr("generation_config.json sets what is not served: num_beams 4, "
                         "no_repeat_ngram_size 3; texts are generated without."));
  process.Signal(SIGTERM);
  EXPECT_EQ(process.Wait(), 0) << process.err();
}

TEST(GenerationDefaultsServeTest, RefusesWhatNoRequestCouldSay) {
  const std::string directory = DemoCopy(R"({"top_p": 1.5})");
  Process process({"serve", "--listen=127.0.0.1:0", "--model", directory});
  process.ReadRest();
  EXPECT_EQ(process.Wait(), 1);
  EXPECT_THAT(process.err(),
              HasSubstr(directory + "/generation_config.json: top_p: 1.5 is not in (0, 1]"));
}

}  // namespace
}  // namespace mneme::testing
