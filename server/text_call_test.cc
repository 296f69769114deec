// Tokenize and Detokenize over the wire: they count as requests, are refused and ended like
// generations, and are logged.
#include "server/text_call.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <random>
#include <sstream>
#include <thread>

#include "server/test_client.h"
#include "server/test_engine.h"
#include "spdlog/sinks/ostream_sink.h"

namespace mneme::server {
namespace {

using ::testing::HasSubstr;

class TextCallTest : public ::testing::Test {
 protected:
  void StartServer(ServerOptions options = {}) {
    auto loaded = loader::Tokenizer::Load("models/demo/ultramem");
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    tokenizer_ = *std::move(loaded);
    TestEngineOptions engine_options;
    engine_options.tokenizer = tokenizer_.get();
    engine_ = std::make_unique<TestEngine>(engine_options);
    options.listen = "127.0.0.1:0";
    server_ = *Server::Start(options, engine_.get());
  }

  grpc::Status Tokenize(const std::string& text) {
    const auto stub = v1::Generation::NewStub(TestChannel(*server_));
    grpc::ClientContext context;
    v1::TokenizeRequest request;
    request.set_text(text);
    v1::TokenizeReply reply;
    return stub->Tokenize(&context, request, &reply);
  }
  grpc::Status Detokenize(const std::vector<int32_t>& ids) {
    const auto stub = v1::Generation::NewStub(TestChannel(*server_));
    grpc::ClientContext context;
    v1::DetokenizeRequest request;
    request.mutable_token_ids()->Assign(ids.begin(), ids.end());
    v1::DetokenizeReply reply;
    return stub->Detokenize(&context, request, &reply);
  }

  std::unique_ptr<loader::Tokenizer> tokenizer_;
  std::unique_ptr<TestEngine> engine_;
  std::unique_ptr<Server> server_;
};

// Words of random letters, so that tokenizing takes its time.
std::string LongText(size_t bytes) {
  std::mt19937 random(1);
  std::string text;
  while (text.size() < bytes) {
    text += random() % 6 == 0 ? ' ' : static_cast<char>('a' + random() % 26);
  }
  return text;
}

TEST_F(TextCallTest, CountsAsARequest) {
  ServerOptions options;
  options.max_requests = 1;
  StartServer(options);
  EXPECT_TRUE(Tokenize("hacker").ok());
  EXPECT_TRUE(Tokenize(LongText(20000)).ok());
  const auto stub = v1::Generation::NewStub(TestChannel(*server_));
  grpc::ClientContext context;
  const auto reader = stub->Generate(&context, IdsRequest({1}, 4000));
  v1::GenerateReply reply;
  ASSERT_TRUE(reader->Read(&reply));
  for (const grpc::Status& status : {Tokenize("hacker"), Detokenize({1})}) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_EQ(status.error_message(), "1 requests are under way, the server's limit");
  }
  context.TryCancel();
  while (reader->Read(&reply)) {
  }
  (void)reader->Finish();
}

TEST_F(TextCallTest, IsRefusedWhenTheServerDrains) {
  StartServer();
  server_->Drain();
  for (const grpc::Status& status :
       {Tokenize("hacker"), Tokenize(LongText(20000)), Detokenize({1})}) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_EQ(status.error_message(), "the server is shutting down");
  }
}

TEST_F(TextCallTest, WhatWaitsForTheWorkerDoesNotOutlastTheDrain) {
  constexpr int kCalls = 40;
  StartServer();
  const std::string text = LongText(300'000);
  std::atomic<int> ended{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kCalls; ++i) {
    threads.emplace_back([&] {
      const grpc::Status status = Tokenize(text);
      if (status.error_message() == "the server is shutting down") ++ended;
    });
  }
  for (int i = 0; i < 2000 && server_->active_requests() < kCalls / 2; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const int32_t waiting = server_->active_requests();
  ASSERT_GT(waiting, kCalls / 4);
  EXPECT_GT(server_->Shutdown(absl::ZeroDuration()), kCalls / 4 - 4);
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(ended, kCalls / 4 - 4);
}

TEST_F(TextCallTest, ImpossibleIdsAreNamed) {
  StartServer();
  grpc::Status status = Detokenize({5, -1});
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "token_ids: id -1 at position 1 is not in [0, 4096)");
  status = Detokenize({4096});
  EXPECT_EQ(status.error_message(), "token_ids: id 4096 at position 0 is not in [0, 4096)");
  EXPECT_TRUE(Detokenize({4095}).ok());
}

TEST_F(TextCallTest, ATextLargerThanAMessageIsRefused) {
  ServerOptions options;
  options.max_message_bytes = 4096;
  StartServer(options);
  EXPECT_TRUE(Detokenize(std::vector<int32_t>(600, 3349)).ok());
  const grpc::Status status = Detokenize(std::vector<int32_t>(1000, 3349));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("the text of the first 683 ids"));
}

TEST_F(TextCallTest, OneLogLineEach) {
  std::ostringstream lines;
  ServerOptions options;
  options.log = std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(lines));
  StartServer(options);
  EXPECT_TRUE(Tokenize("hacker").ok());
  EXPECT_FALSE(Detokenize({-1}).ok());
  server_->Shutdown(absl::Seconds(5));
  const std::string text = lines.str();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2) << text;
  EXPECT_THAT(text, HasSubstr(" tokenize request_bytes=8 total_ms="));
  EXPECT_THAT(text, HasSubstr(" status=OK\n"));
  EXPECT_THAT(text, HasSubstr(" detokenize request_bytes=12 total_ms="));
  EXPECT_THAT(text, HasSubstr(" status=INVALID_ARGUMENT message=\"token_ids: id -1"));
}

}  // namespace
}  // namespace mneme::server
