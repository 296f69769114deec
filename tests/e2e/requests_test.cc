// Requests of every kind through a real server with the demo model: what is refused, how a request
// ends early, and that nobody's text depends on the neighbours.

#include <atomic>
#include <chrono>
#include <functional>
#include <random>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/served_model.h"

namespace mneme::testing {
namespace {

using ::testing::StartsWith;

class RequestsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { served_ = new ServedModel(kDemoModel); }
  static void TearDownTestSuite() {
    delete served_;
    served_ = nullptr;
  }
  void SetUp() override { ASSERT_TRUE(served_->status().ok()) << served_->status(); }
  void TearDown() override { EXPECT_EQ(served_->WaitUntilWhole(), absl::OkStatus()); }

  client::Client& client() { return served_->client(); }

  static ServedModel* served_;
};

ServedModel* RequestsTest::served_ = nullptr;

struct BadField {
  const char* field;
  std::function<void(v1::GenerateRequest*)> spoil;
};

TEST_F(RequestsTest, BadFieldsAreNamed) {
  const std::vector<BadField> bad_fields = {
      {"temperature", [](auto* r) { r->mutable_sampling()->set_temperature(-0.5f); }},
      {"temperature", [](auto* r) { r->mutable_sampling()->set_temperature(NAN); }},
      {"top_p", [](auto* r) { r->mutable_sampling()->set_top_p(0); }},
      {"top_p", [](auto* r) { r->mutable_sampling()->set_top_p(1.5f); }},
      {"top_k", [](auto* r) { r->mutable_sampling()->set_top_k(-2); }},
      {"min_p", [](auto* r) { r->mutable_sampling()->set_min_p(1.5f); }},
      {"repetition_penalty", [](auto* r) { r->mutable_sampling()->set_repetition_penalty(0); }},
      {"presence_penalty", [](auto* r) { r->mutable_sampling()->set_presence_penalty(3); }},
      {"frequency_penalty", [](auto* r) { r->mutable_sampling()->set_frequency_penalty(-3); }},
      {"logit_bias", [](auto* r) { (*r->mutable_sampling()->mutable_logit_bias())[5] = 101; }},
      {"logit_bias", [](auto* r) { (*r->mutable_sampling()->mutable_logit_bias())[-1] = 1; }},
      {"max_tokens", [](auto* r) { r->mutable_stopping()->set_max_tokens(-1); }},
      {"max_tokens", [](auto* r) { r->mutable_stopping()->set_max_tokens(100000); }},
      {"min_tokens", [](auto* r) { r->mutable_stopping()->set_min_tokens(-1); }},
      {"min_tokens", [](auto* r) { r->mutable_stopping()->set_min_tokens(9); }},
      {"stop", [](auto* r) { r->mutable_stopping()->add_stop(""); }},
      {"stop", [](auto* r) { r->mutable_stopping()->add_stop(std::string(257, 'x')); }},
      {"stop",
       [](auto* r) {
         for (int i = 0; i < 17; ++i) r->mutable_stopping()->add_stop("x");
       }},
      {"stop_token_ids", [](auto* r) { r->mutable_stopping()->add_stop_token_ids(1 << 20); }},
      {"logprobs", [](auto* r) { r->set_logprobs(21); }},
      {"prompt_logprobs", [](auto* r) { r->set_prompt_logprobs(-1); }},
      {"n", [](auto* r) { r->set_n(65); }},
      {"request_id", [](auto* r) { r->set_request_id(std::string(129, 'x')); }},
      {"token_ids", [](auto* r) { r->mutable_token_ids()->add_ids(1 << 20); }},
      {"token_ids", [](auto* r) { r->mutable_token_ids()->add_ids(-1); }},
      {"prompt", [](auto* r) { r->clear_prompt(); }},
      {"text", [](auto* r) { r->set_text(""); }},
  };
  for (const BadField& bad : bad_fields) {
    v1::GenerateRequest request = TextRequest("hacker: n.", 8);
    bad.spoil(&request);
    const auto result = client().Generate(request, {}, nullptr);
    EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument)
        << bad.field << ": " << result.status();
    EXPECT_THAT(std::string(result.status().message()), StartsWith(std::string(bad.field) + ":"));
  }
}

TEST_F(RequestsTest, LimitsAreResourceExhausted) {
  EXPECT_EQ(
      client().Generate(IdsRequest(std::vector<int32_t>(1025, 7), 0), {}, nullptr).status().code(),
      absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(
      client().Generate(TextRequest(std::string(5 << 20, 'x'), 1), {}, nullptr).status().code(),
      absl::StatusCode::kResourceExhausted);
}

TEST_F(RequestsTest, MaxTokensIsCountedAndZeroEvaluatesThePrompt) {
  v1::GenerateRequest request = TextRequest("hacker: n.", 0);
  request.set_prompt_logprobs(1);
  const auto result = client().Generate(request, {}, nullptr);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->choices[0].token_ids.size(), 0u);
  EXPECT_EQ(result->choices[0].finish_reason, v1::LENGTH);
  ASSERT_EQ(result->prompt_logprobs.size(), 3u);
  EXPECT_EQ(result->prompt_logprobs[0].token().token_id(), 59);
  EXPECT_LT(result->prompt_logprobs[0].token().logprob(), 0);
  EXPECT_EQ(result->prompt_logprobs[0].top_size(), 1);
}

TEST_F(RequestsTest, StopStringsEchoAndChoices) {
  v1::GenerateRequest request = Greedy(TextRequest("hacker: n.", 60));
  request.set_echo(true);
  request.mutable_stopping()->add_stop("what to do");
  auto result = client().Generate(request, {}, nullptr);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->choices[0].text, "hacker: n.\nA hacker who has to do with no idea ");
  EXPECT_EQ(result->choices[0].finish_reason, v1::STOP);
  EXPECT_EQ(result->choices[0].stop_string, "what to do");

  request = TextRequest("hacker: n.", 12);
  request.set_n(4);
  request.mutable_sampling()->set_seed(5);
  result = client().Generate(request, {}, nullptr);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->choices.size(), 4u);
  EXPECT_NE(result->choices[0].token_ids, result->choices[1].token_ids);
  EXPECT_EQ(result->usage.seed(), 5u);
  const auto again = client().Generate(request, {}, nullptr);
  ASSERT_TRUE(again.ok());
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(again->choices[i].token_ids, result->choices[i].token_ids);
  }
}

TEST_F(RequestsTest, CancelsAndDeadlinesReturnEveryBlock) {
  const v1::GenerateRequest endless = Greedy(TextRequest("hacker: n.", 1000));
  const auto stream = client().Start(endless, {});
  v1::GenerateReply reply;
  ASSERT_TRUE(stream->Next(&reply));
  stream->Cancel();
  while (stream->Next(&reply)) {
  }
  EXPECT_EQ(stream->Finish().code(), absl::StatusCode::kCancelled);
  const auto late = client().Generate(endless, {.timeout = absl::Milliseconds(30)}, nullptr);
  EXPECT_EQ(late.status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(RequestsTest, ModelAndStats) {
  const auto model = client().GetModel();
  ASSERT_TRUE(model.ok());
  EXPECT_EQ(model->name(), "ultramem");
  EXPECT_EQ(model->architecture(), "ultramem_v2");
  EXPECT_EQ(model->parameters(), 10730288);
  EXPECT_GT(model->weight_bytes(), 20'000'000);
  EXPECT_EQ(model->max_sequence_length(), 1024);
  EXPECT_EQ(model->vocab_size(), 4096);
  EXPECT_TRUE(model->has_tokenizer());
  EXPECT_EQ(model->device(), "cpu");
  EXPECT_EQ(model->ranks(), 1);
  EXPECT_EQ(model->plan_hash().size(), 16u);
  ASSERT_TRUE(client().Generate(Greedy(TextRequest("hacker: n.", 4)), {}, nullptr).ok());
  const auto stats = client().GetStats();
  ASSERT_TRUE(stats.ok());
  EXPECT_GT(stats->requests_total(), 0);
  EXPECT_GT(stats->steps_total(), 0);
  EXPECT_GT(stats->output_tokens_total(), 3);
  EXPECT_GT(stats->traffic_total().classes_size(), 3);
}

// What identifies a generation to the bit.
std::string Fingerprint(const client::GenerateResult& result) {
  std::string out;
  for (const auto& choice : result.choices) {
    out += choice.text + "|";
    for (const v1::PositionLogprobs& position : choice.logprobs) {
      position.AppendToString(&out);
    }
  }
  return out;
}

v1::GenerateRequest MixedRequest(int i) {
  std::mt19937 random(static_cast<unsigned>(i));
  std::vector<int32_t> prompt;
  const int length = 1 + static_cast<int>(random() % 120);
  for (int t = 0; t < length; ++t) prompt.push_back(static_cast<int32_t>(1 + random() % 4000));
  v1::GenerateRequest request = IdsRequest(prompt, 1 + static_cast<int>(random() % 60));
  request.set_logprobs(1);
  request.mutable_sampling()->set_temperature(i % 3 == 0 ? 0.0f : 0.9f);
  request.mutable_sampling()->set_seed(static_cast<uint64_t>(i));
  request.mutable_stopping()->set_ignore_eos(true);
  if (i % 8 == 0) request.set_n(2);
  return request;
}

class ConcurrencyTest : public ::testing::TestWithParam<int> {};

// 64 at a time with random cancels, in a KV cache too small for them: what is not cancelled is to
// the bit what it is alone, on any number of ranks.
TEST_P(ConcurrencyTest, SixtyFourRequestsAreWhatEachIsAlone) {
  ServingOptions options = ServedModel::Options(kDemoModel);
  options.ranks = GetParam();
  // 40 blocks of 16 positions: 6 layers x 16 positions x 256 keys and values of 4 bytes each.
  options.kv_cache_bytes = int64_t{40} * 6 * 16 * 2 * 256 * 4;
  ServedModel served(options, {});
  ASSERT_TRUE(served.status().ok()) << served.status();
  constexpr int kRequests = 64;
  std::vector<std::string> alone(kRequests);
  for (int i = 0; i < kRequests; ++i) {
    const auto result = served.client().Generate(MixedRequest(i), {}, nullptr);
    ASSERT_TRUE(result.ok()) << i << " " << result.status();
    alone[i] = Fingerprint(*result);
  }
  const int64_t preemptions = served.serving().engine().stats().preemptions_total;
  std::atomic<int> compared{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kRequests; ++i) {
    threads.emplace_back([&, i] {
      int replies = 0;
      const bool cancel = i % 5 == 4;
      const auto result = served.client().Generate(
          MixedRequest(i), {},
          [&](const v1::ChoiceDelta&) { return !cancel || ++replies < 1 + i % 7; });
      if (!result.ok()) {
        EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled) << i;
        return;
      }
      EXPECT_EQ(Fingerprint(*result), alone[i]) << i;
      ++compared;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(compared, kRequests * 4 / 5);
  EXPECT_GT(served.serving().engine().stats().preemptions_total, preemptions);
  EXPECT_EQ(served.WaitUntilWhole(), absl::OkStatus());
}

INSTANTIATE_TEST_SUITE_P(Ranks, ConcurrencyTest, ::testing::Values(1, 2, 3));

// Waits for `running` and `waiting` requests; false if that is not seen.
bool Settles(client::Client* client, int64_t running, int64_t waiting) {
  for (int i = 0; i < 2000; ++i) {
    const absl::StatusOr<v1::GetStatsReply> stats = client->GetStats();
    if (!stats.ok()) return false;
    if (stats->requests_running() == running && stats->requests_waiting() == waiting) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

TEST(QueueTest, AFullQueueIsResourceExhausted) {
  ServingOptions options = ServedModel::Options(kDemoModel);
  options.max_sequences = 1;
  options.schedule.max_waiting = 1;
  ServedModel served(options, {});
  ASSERT_TRUE(served.status().ok()) << served.status();
  const v1::GenerateRequest longest = Greedy(TextRequest("hacker: n.", 1000));
  absl::Status refused;
  // Again if the machine is so slow to look that the first request is already done.
  for (int i = 0; i < 20 && refused.ok(); ++i) {
    const auto runs = served.client().Start(longest, {});
    if (!Settles(&served.client(), 1, 0)) continue;
    const auto waits = served.client().Start(longest, {});
    if (!Settles(&served.client(), 1, 1)) continue;
    refused = served.client().Generate(TextRequest("hacker: n.", 1), {}, nullptr).status();
    runs->Cancel();
    waits->Cancel();
    ASSERT_EQ(served.WaitUntilWhole(), absl::OkStatus());
  }
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted) << refused;
  EXPECT_EQ(served.WaitUntilWhole(), absl::OkStatus());
}

}  // namespace
}  // namespace mneme::testing
