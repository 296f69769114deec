#include "server/server.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <sstream>
#include <thread>

#include "server/test_client.h"
#include "server/test_engine.h"
#include "spdlog/sinks/ostream_sink.h"

namespace mneme::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ServerTest : public ::testing::Test {
 protected:
  void StartServer(ServerOptions options = {}, TestEngineOptions engine_options = {}) {
    engine_ = std::make_unique<TestEngine>(engine_options);
    options.listen = "127.0.0.1:0";
    absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(options, engine_.get());
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  std::unique_ptr<v1::Generation::Stub> Stub() {
    return v1::Generation::NewStub(TestChannel(*server_));
  }

  void ExpectNothingIsLeft() {
    for (int i = 0; i < 500; ++i) {
      if (engine_->live_generations() == 0 && server_->active_requests() == 0) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_EQ(engine_->live_generations(), 0);
    EXPECT_EQ(server_->active_requests(), 0);
  }

  std::unique_ptr<TestEngine> engine_;
  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, StreamsDeltasThenUsage) {
  StartServer();
  v1::GenerateRequest request = IdsRequest({5, 6, 7}, 5);
  request.set_request_id("mine");
  const GenerateOutcome out = Generate(*server_, request);
  ASSERT_TRUE(out.status.ok()) << out.status.error_message();
  EXPECT_EQ(out.text, "5 6 7 5 6 ");
  EXPECT_THAT(out.token_ids, ElementsAre(5, 6, 7, 5, 6));
  EXPECT_EQ(out.finish, v1::LENGTH);
  EXPECT_GT(out.replies.size(), 1u);
  for (const v1::GenerateReply& reply : out.replies) EXPECT_EQ(reply.request_id(), "mine");
  EXPECT_EQ(out.usage.prompt_tokens(), 3);
  EXPECT_EQ(out.usage.output_tokens(), 5);
  EXPECT_EQ(out.usage.prefill_seconds(), 0.5);
  EXPECT_EQ(out.usage.seed(), 7u);
  ASSERT_EQ(out.usage.traffic().classes_size(), 1);
  EXPECT_EQ(out.usage.traffic().classes(0).name(), "value_rows");
  EXPECT_EQ(out.usage.traffic().classes(0).read_bytes(), 1024);
  ExpectNothingIsLeft();
}

TEST_F(ServerTest, MakesUpDistinctIds) {
  StartServer();
  const GenerateOutcome a = Generate(*server_, IdsRequest({1}, 1));
  const GenerateOutcome b = Generate(*server_, IdsRequest({1}, 1));
  EXPECT_NE(a.replies.back().request_id(), "");
  EXPECT_NE(a.replies.back().request_id(), b.replies.back().request_id());
}

TEST_F(ServerTest, ManyChoicesAndLogprobs) {
  StartServer();
  v1::GenerateRequest request = IdsRequest({4}, 3);
  request.set_n(64);
  request.set_logprobs(2);
  const GenerateOutcome out = Generate(*server_, request);
  ASSERT_TRUE(out.status.ok());
  std::vector<int> tokens(64);
  std::vector<int> finished(64);
  for (const v1::GenerateReply& reply : out.replies) {
    for (const v1::ChoiceDelta& delta : reply.choices()) {
      tokens[delta.index()] += delta.token_ids_size();
      finished[delta.index()] += delta.finish_reason() == v1::LENGTH;
      ASSERT_EQ(delta.logprobs_size(), delta.token_ids_size());
      for (const v1::PositionLogprobs& position : delta.logprobs()) {
        EXPECT_EQ(position.token().token_id(), 4);
        EXPECT_EQ(position.top_size(), 2);
      }
    }
  }
  EXPECT_THAT(tokens, ::testing::Each(3));
  EXPECT_THAT(finished, ::testing::Each(1));
}

TEST_F(ServerTest, AFailedStepGivesItsStatusAndTheUsage) {
  StartServer();
  const GenerateOutcome out = Generate(*server_, IdsRequest({1, kPoisonToken}, 10));
  EXPECT_EQ(out.status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_EQ(out.status.error_message(), "step 3 failed: poisoned");
  EXPECT_EQ(out.finish, v1::ERROR);
  EXPECT_EQ(out.usage.output_tokens(), 2);
}

TEST_F(ServerTest, BadRequestsNameTheField) {
  StartServer();
  v1::GenerateRequest request;
  GenerateOutcome out = Generate(*server_, request);
  EXPECT_EQ(out.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(out.status.error_message(), "prompt: neither text nor token_ids is set");

  request.set_text("hello");
  out = Generate(*server_, request);
  EXPECT_EQ(out.status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(out.status.error_message(), HasSubstr("text: the model has no tokenizer"));

  out = Generate(*server_, IdsRequest({}, 1));
  EXPECT_EQ(out.status.error_message(), "token_ids: the prompt has no tokens");

  request = IdsRequest({1}, 1);
  request.set_request_id(std::string(129, 'x'));
  out = Generate(*server_, request);
  EXPECT_EQ(out.status.error_message(), "request_id: 129 bytes, at most 128");

  request = IdsRequest({1}, 1);
  request.set_n(0);
  out = Generate(*server_, request);
  EXPECT_EQ(out.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(out.status.error_message(), "n: 0 is not in [1, 64]");
  ExpectNothingIsLeft();
}

TEST_F(ServerTest, BytesThatAreNoRequestAreAnInvalidArgument) {
  StartServer();
  // The typed stubs cannot send these: field 1 (text), two bytes that are not UTF-8.
  std::string reply;
  const grpc::Status status =
      RawCall(*server_, "/mneme.v1.Generation/Tokenize", "\x0a\x02\xff\xfe", &reply);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("mneme.v1.TokenizeRequest"));
}

TEST_F(ServerTest, LongPromptsAndLargeMessagesAreRefused) {
  ServerOptions options;
  options.max_prompt_tokens = 10;
  options.max_message_bytes = 4096;
  StartServer(options);
  GenerateOutcome out = Generate(*server_, IdsRequest(std::vector<int32_t>(11, 1), 1));
  EXPECT_EQ(out.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(out.status.error_message(), "token_ids: the prompt has 11 tokens, the limit is 10");
  out = Generate(*server_, IdsRequest(std::vector<int32_t>(5000, 1), 1));
  EXPECT_EQ(out.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(Generate(*server_, IdsRequest(std::vector<int32_t>(10, 1), 1)).status.ok());
}

TEST_F(ServerTest, MoreRequestsThanAllowedAreRefused) {
  ServerOptions options;
  options.max_requests = 2;
  StartServer(options);
  const auto stub = Stub();
  grpc::ClientContext contexts[2];
  std::unique_ptr<grpc::ClientReader<v1::GenerateReply>> readers[2];
  v1::GenerateReply reply;
  for (int i = 0; i < 2; ++i) {
    readers[i] = stub->Generate(&contexts[i], IdsRequest({1}, 4000));
    ASSERT_TRUE(readers[i]->Read(&reply));
  }
  const GenerateOutcome out = Generate(*server_, IdsRequest({1}, 1));
  EXPECT_EQ(out.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(out.status.error_message(), HasSubstr("2 requests are under way"));
  for (int i = 0; i < 2; ++i) {
    contexts[i].TryCancel();
    while (readers[i]->Read(&reply)) {
    }
    EXPECT_EQ(readers[i]->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  ExpectNothingIsLeft();
  EXPECT_TRUE(Generate(*server_, IdsRequest({1}, 1)).status.ok());
}

TEST_F(ServerTest, ACancelledCallEndsItsGeneration) {
  StartServer();
  const auto stub = Stub();
  grpc::ClientContext context;
  const auto reader = stub->Generate(&context, IdsRequest({1}, 100000));
  v1::GenerateReply reply;
  ASSERT_TRUE(reader->Read(&reply));
  context.TryCancel();
  while (reader->Read(&reply)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  ExpectNothingIsLeft();
}

TEST_F(ServerTest, ADeadlineEndsItsGeneration) {
  std::ostringstream lines;
  ServerOptions options;
  options.log = std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(lines));
  StartServer(options);
  const auto stub = Stub();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
  const auto reader = stub->Generate(&context, IdsRequest({1}, 1000000));
  v1::GenerateReply reply;
  while (reader->Read(&reply)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  ExpectNothingIsLeft();
  server_->Shutdown(absl::Seconds(5));
  EXPECT_THAT(lines.str(), HasSubstr("status=DEADLINE_EXCEEDED"));
}

TEST_F(ServerTest, AVanishedClientEndsItsGeneration) {
  StartServer();
  {
    auto channel = TestChannel(*server_);
    auto stub = v1::Generation::NewStub(channel);
    grpc::ClientContext context;
    auto reader = stub->Generate(&context, IdsRequest({1}, 1000000));
    v1::GenerateReply reply;
    ASSERT_TRUE(reader->Read(&reply));
  }
  ExpectNothingIsLeft();
}

TEST_F(ServerTest, ASlowReaderPausesOnlyItself) {
  TestEngineOptions engine_options;
  engine_options.token_period = std::chrono::microseconds(20);
  engine_options.padding = 1000;
  StartServer({}, engine_options);
  const auto stub = Stub();
  grpc::ClientContext context;
  // 100,000 tokens of 1 KB: only back-pressure can hold this back.
  const auto reader = stub->Generate(&context, IdsRequest({1}, 100000));
  v1::GenerateReply reply;
  ASSERT_TRUE(reader->Read(&reply));
  int64_t made = 0;
  for (int i = 0; i < 200; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    const int64_t now = engine_->tokens_made();
    if (now == made) break;
    made = now;
  }
  const int64_t paused_at = engine_->tokens_made();
  EXPECT_LT(paused_at, 50000);
  // Another stream is as quick as ever.
  const GenerateOutcome other = Generate(*server_, IdsRequest({2}, 500));
  EXPECT_TRUE(other.status.ok());
  EXPECT_EQ(other.token_ids.size(), 500u);
  EXPECT_LT(engine_->tokens_made() - 500 - paused_at, 100);
  // The slow one goes on where it was.
  size_t tokens = 0;
  do {
    for (const v1::ChoiceDelta& delta : reply.choices()) tokens += delta.token_ids_size();
  } while (tokens < 40000 && reader->Read(&reply));
  EXPECT_GE(tokens, 40000u);
  context.TryCancel();
  while (reader->Read(&reply)) {
  }
  EXPECT_FALSE(reader->Finish().ok());
  ExpectNothingIsLeft();
}

TEST_F(ServerTest, AbsentSamplingFieldsTakeTheModelsDefaults) {
  ServerOptions options;
  options.model.set_name("m");
  options.model.mutable_default_sampling()->set_temperature(0.25f);
  options.model.mutable_default_sampling()->set_top_k(9);
  options.model.set_default_max_tokens(33);
  StartServer(options);
  v1::GenerateRequest request = IdsRequest({1}, 1);
  request.mutable_sampling()->set_top_k(0);
  ASSERT_TRUE(Generate(*server_, request).status.ok());
  EXPECT_EQ(engine_->last_request().sampling.temperature, 0.25f);
  EXPECT_EQ(engine_->last_request().sampling.top_k, 0);
  EXPECT_EQ(engine_->last_request().sampling.top_p, 1.0f);
  EXPECT_EQ(engine_->last_request().max_tokens, 1);
  EXPECT_EQ(engine_->last_request().default_max_tokens, 33);

  grpc::ClientContext context;
  v1::GetModelReply model;
  ASSERT_TRUE(Stub()->GetModel(&context, {}, &model).ok());
  EXPECT_EQ(model.name(), "m");
  EXPECT_EQ(model.architecture(), "test");
  EXPECT_EQ(model.vocab_size(), 1000);
  EXPECT_EQ(model.max_sequence_length(), 4096);
  EXPECT_THAT(model.eos_token_ids(), ElementsAre(0));
  EXPECT_FALSE(model.has_tokenizer());
  EXPECT_EQ(model.default_sampling().temperature(), 0.25f);
  EXPECT_EQ(model.default_sampling().repetition_penalty(), 1.0f);
  EXPECT_EQ(model.default_max_tokens(), 33);
}

TEST_F(ServerTest, StatsAndTheMissingTokenizer) {
  StartServer();
  Generate(*server_, IdsRequest({1}, 3));
  const auto stub = Stub();
  {
    grpc::ClientContext context;
    v1::GetStatsReply stats;
    ASSERT_TRUE(stub->GetStats(&context, {}, &stats).ok());
    EXPECT_EQ(stats.requests_total(), 1);
    EXPECT_EQ(stats.output_tokens_total(), 3);
    EXPECT_GT(stats.uptime_seconds(), 0);
    ASSERT_EQ(stats.traffic_total().classes_size(), 1);
    EXPECT_EQ(stats.traffic_total().classes(0).name(), "kv");
  }
  grpc::ClientContext context;
  v1::DetokenizeReply reply;
  EXPECT_EQ(stub->Detokenize(&context, {}, &reply).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(ServerTest, OneLogLinePerRequestWithoutLineBreaksFromIds) {
  std::ostringstream lines;
  ServerOptions options;
  options.log = std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(lines));
  StartServer(options);
  v1::GenerateRequest request = IdsRequest({1, 2}, 3);
  request.set_request_id("a\nb");
  Generate(*server_, request);
  Generate(*server_, IdsRequest({}, 3));
  server_->Shutdown(absl::Seconds(5));
  const std::string text = lines.str();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2) << text;
  EXPECT_THAT(text, HasSubstr("id=\"a\\nb\" prompt_tokens=2 cached_tokens=0 output_tokens=3"));
  EXPECT_THAT(text, HasSubstr("finish=length status=OK"));
  EXPECT_THAT(text, HasSubstr("refused status=INVALID_ARGUMENT"));
}

TEST_F(ServerTest, ARefusalByTheLimitIsLoggedWithTheClientsId) {
  std::ostringstream lines;
  ServerOptions options;
  options.max_requests = 1;
  options.log = std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(lines));
  StartServer(options);
  const auto stub = Stub();
  grpc::ClientContext context;
  const auto reader = stub->Generate(&context, IdsRequest({1}, 4000));
  v1::GenerateReply reply;
  ASSERT_TRUE(reader->Read(&reply));
  v1::GenerateRequest request = IdsRequest({1}, 1);
  request.set_request_id("one too many");
  EXPECT_EQ(Generate(*server_, request).status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  context.TryCancel();
  while (reader->Read(&reply)) {
  }
  (void)reader->Finish();
  server_->Shutdown(absl::Seconds(5));
  EXPECT_THAT(lines.str(), HasSubstr("id=\"one too many\" refused status=RESOURCE_EXHAUSTED"));
  EXPECT_THAT(lines.str(), HasSubstr("status=CANCELLED message=\"cancelled by the client\""));
}

TEST_F(ServerTest, ImpossibleOptionsAreNamed) {
  TestEngine engine{TestEngineOptions{}};
  ServerOptions options;
  options.listen = "127.0.0.1:0";
  options.max_message_bytes = int64_t{1} << 31;
  EXPECT_EQ(Server::Start(options, &engine).status().message(),
            "max_message_bytes: 2147483648 is not in [1, 2147483647]");
  options.max_message_bytes = 4096;
  options.max_requests = 0;
  EXPECT_EQ(Server::Start(options, &engine).status().message(),
            "max_requests: 0 is not at least 1");
}

TEST_F(ServerTest, AnAddressInUseOrMalformedIsRefusedByName) {
  StartServer();
  ServerOptions options;
  options.listen = server_->address();
  absl::StatusOr<std::unique_ptr<Server>> second = Server::Start(options, engine_.get());
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(server_->address()));
  options.listen = "nonsense";
  EXPECT_EQ(Server::Start(options, engine_.get()).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace mneme::server
