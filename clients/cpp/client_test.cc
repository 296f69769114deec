// The client against a service of the test's own: what it sends, how it puts replies together, how
// it ends.
#include "clients/cpp/client.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <thread>

namespace mneme::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class TestService : public v1::Generation::Service {
 public:
  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        grpc::ServerWriter<v1::GenerateReply>* writer) override {
    if (request->text() == "refuse") {
      return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "text: no");
    }
    for (int i = 0; i < 3 || request->text() == "endless"; ++i) {
      if (context->IsCancelled()) break;
      v1::GenerateReply reply;
      reply.set_request_id("r");
      for (int choice = 1; choice >= 0; --choice) {
        v1::ChoiceDelta* delta = reply.add_choices();
        delta->set_index(choice);
        delta->set_text(choice == 0 ? "a" : "b");
        delta->add_token_ids(10 * choice + i);
        if (i == 2) {
          delta->set_finish_reason(v1::STOP);
          delta->set_stop_string("c");
        }
      }
      if (i == 2) reply.mutable_usage()->set_output_tokens(6);
      if (!writer->Write(reply)) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return grpc::Status::OK;
  }
  grpc::Status Tokenize(grpc::ServerContext*, const v1::TokenizeRequest* request,
                        v1::TokenizeReply* reply) override {
    reply->add_token_ids(static_cast<int32_t>(request->text().size()));
    reply->add_token_ids(request->add_special_tokens());
    return grpc::Status::OK;
  }
  grpc::Status Detokenize(grpc::ServerContext*, const v1::DetokenizeRequest* request,
                          v1::DetokenizeReply* reply) override {
    reply->set_text(std::string(static_cast<size_t>(request->token_ids(0)), 'x'));
    return grpc::Status::OK;
  }
  grpc::Status GetModel(grpc::ServerContext*, const v1::GetModelRequest*,
                        v1::GetModelReply* reply) override {
    reply->set_name("m");
    return grpc::Status::OK;
  }
};

class ClientTest : public ::testing::Test {
 protected:
  void SetUp() override {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    auto client = Client::Connect({.address = "127.0.0.1:" + std::to_string(port)});
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
  }

  v1::GenerateRequest Request(const std::string& text) {
    v1::GenerateRequest request;
    request.set_text(text);
    return request;
  }

  TestService service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Client> client_;
};

TEST_F(ClientTest, PutsChoicesTogether) {
  std::string streamed;
  const auto result = client_->Generate(Request("x"), {}, [&](const v1::ChoiceDelta& delta) {
    streamed += delta.text();
    return true;
  });
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(streamed, "bababa");
  ASSERT_EQ(result->choices.size(), 2u);
  EXPECT_EQ(result->request_id, "r");
  EXPECT_EQ(result->choices[0].text, "aaa");
  EXPECT_THAT(result->choices[1].token_ids, ElementsAre(10, 11, 12));
  EXPECT_EQ(result->choices[0].finish_reason, v1::STOP);
  EXPECT_EQ(result->choices[0].stop_string, "c");
  EXPECT_FALSE(result->choices[0].stop_token_id.has_value());
  EXPECT_EQ(result->usage.output_tokens(), 6);
}

TEST_F(ClientTest, StatusesKeepCodeAndMessage) {
  const auto result = client_->Generate(Request("refuse"), {}, nullptr);
  EXPECT_EQ(result.status(), absl::InvalidArgumentError("text: no"));
  EXPECT_EQ(client_->GetStats().status().code(), absl::StatusCode::kUnimplemented);
}

TEST_F(ClientTest, TheCallbackMayStopIt) {
  int deltas = 0;
  const auto result = client_->Generate(Request("endless"), {},
                                        [&](const v1::ChoiceDelta&) { return ++deltas < 5; });
  EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(deltas, 5);
}

TEST_F(ClientTest, DeadlinesAndCancelsEndAStream) {
  const auto late =
      client_->Generate(Request("endless"), {.timeout = absl::Milliseconds(50)}, nullptr);
  EXPECT_EQ(late.status().code(), absl::StatusCode::kDeadlineExceeded);

  const auto stream = client_->Start(Request("endless"), {});
  v1::GenerateReply reply;
  ASSERT_TRUE(stream->Next(&reply));
  std::thread canceller([&] { stream->Cancel(); });
  while (stream->Next(&reply)) {
  }
  canceller.join();
  EXPECT_EQ(stream->Finish().code(), absl::StatusCode::kCancelled);
}

TEST_F(ClientTest, AnAbandonedStreamIsCancelled) {
  const auto stream = client_->Start(Request("endless"), {});
  v1::GenerateReply reply;
  ASSERT_TRUE(stream->Next(&reply));
}

TEST_F(ClientTest, UnaryCalls) {
  EXPECT_THAT(*client_->Tokenize("four", true), ElementsAre(4, 1));
  EXPECT_THAT(*client_->Tokenize("four", false), ElementsAre(4, 0));
  EXPECT_EQ(*client_->Detokenize({3}, true), "xxx");
  EXPECT_EQ(client_->GetModel()->name(), "m");
}

TEST(ConnectTest, NamesTheAddressThatDoesNotAnswer) {
  const auto client =
      Client::Connect({.address = "127.0.0.1:1", .connect_timeout = absl::Milliseconds(100)});
  EXPECT_EQ(client.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(client.status().message()), HasSubstr("127.0.0.1:1"));
}

TEST(GenerateResultTest, IndicesThatNoServerSendsAreDropped) {
  GenerateResult result;
  v1::GenerateReply reply;
  reply.add_choices()->set_index(-1);
  reply.add_choices()->set_index(1 << 30);
  result.Add(reply);
  EXPECT_TRUE(result.choices.empty());
}

}  // namespace
}  // namespace mneme::client
