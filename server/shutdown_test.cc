// How a server ends: draining, refusing, ending what does not end by itself.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "server/server.h"
#include "server/test_client.h"
#include "server/test_engine.h"

namespace mneme::server {
namespace {

using Clock = std::chrono::steady_clock;

struct Running {
  TestEngine engine{TestEngineOptions{}};
  std::unique_ptr<Server> server;

  Running() {
    ServerOptions options;
    options.listen = "127.0.0.1:0";
    server = *Server::Start(options, &engine);
  }
};

// A generation that has begun to stream.
struct Stream {
  grpc::ClientContext context;
  std::unique_ptr<v1::Generation::Stub> stub;
  std::unique_ptr<grpc::ClientReader<v1::GenerateReply>> reader;
  GenerateOutcome out;

  Stream(const Server& server, int32_t tokens) {
    stub = v1::Generation::NewStub(TestChannel(server));
    reader = stub->Generate(&context, IdsRequest({1}, tokens));
    v1::GenerateReply reply;
    if (reader->Read(&reply)) Collect(reply, &out);
  }
  void ReadToTheEnd() {
    v1::GenerateReply reply;
    while (reader->Read(&reply)) Collect(reply, &out);
    out.status = reader->Finish();
  }
};

TEST(ShutdownTest, RunningRequestsEndAndNewOnesAreRefused) {
  Running running;
  EXPECT_EQ(ProbeHealth(*running.server, "mneme.v1.Generation"), "SERVING");
  EXPECT_EQ(ProbeHealth(*running.server, ""), "SERVING");
  Stream stream(*running.server, 1500);
  std::thread reader([&] { stream.ReadToTheEnd(); });
  running.server->Drain();
  EXPECT_EQ(ProbeHealth(*running.server, "mneme.v1.Generation"), "NOT_SERVING");
  const GenerateOutcome refused = Generate(*running.server, IdsRequest({1}, 1));
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(refused.status.error_message(), "the server is shutting down");
  EXPECT_EQ(running.server->Shutdown(absl::Seconds(30)), 0);
  reader.join();
  EXPECT_TRUE(stream.out.status.ok()) << stream.out.status.error_message();
  EXPECT_EQ(stream.out.token_ids.size(), 1500u);
  EXPECT_EQ(running.engine.live_generations(), 0);
}

// While the engine brings a rank back the server says so; after a drain nothing turns it back.
TEST(ShutdownTest, HealthFollowsTheEngine) {
  Running running;
  running.engine.SetReady(false);
  EXPECT_EQ(ProbeHealth(*running.server, "mneme.v1.Generation"), "NOT_SERVING");
  EXPECT_EQ(ProbeHealth(*running.server, ""), "NOT_SERVING");
  running.engine.SetReady(true);
  EXPECT_EQ(ProbeHealth(*running.server, "mneme.v1.Generation"), "SERVING");
  running.server->Drain();
  running.engine.SetReady(true);
  EXPECT_EQ(ProbeHealth(*running.server, "mneme.v1.Generation"), "NOT_SERVING");
}

TEST(ShutdownTest, WhatOutlastsTheDrainIsEndedAndTold) {
  Running running;
  Stream stream(*running.server, 1000000);
  std::thread reader([&] { stream.ReadToTheEnd(); });
  const Clock::time_point start = Clock::now();
  EXPECT_EQ(running.server->Shutdown(absl::Milliseconds(200)), 1);
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(3));
  reader.join();
  EXPECT_EQ(stream.out.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(stream.out.finish, v1::CANCELLED);
  EXPECT_GT(stream.out.usage.output_tokens(), 0);
  EXPECT_EQ(running.engine.live_generations(), 0);
}

TEST(ShutdownTest, HurryCutsTheDrainShort) {
  Running running;
  Stream stream(*running.server, 1000000);
  std::thread reader([&] { stream.ReadToTheEnd(); });
  std::thread hurry([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    running.server->Hurry();
  });
  const Clock::time_point start = Clock::now();
  EXPECT_EQ(running.server->Shutdown(absl::Seconds(60)), 1);
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(5));
  hurry.join();
  reader.join();
}

TEST(ShutdownTest, AClientThatDoesNotReadDoesNotHoldTheServer) {
  Running running;
  TestEngineOptions loud;
  loud.token_period = std::chrono::microseconds(20);
  loud.padding = 4000;
  TestEngine engine(loud);
  ServerOptions options;
  options.listen = "127.0.0.1:0";
  std::unique_ptr<Server> server = *Server::Start(options, &engine);
  Stream stream(*server, 1000000);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const Clock::time_point start = Clock::now();
  server->Shutdown(absl::ZeroDuration());
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(6));
  EXPECT_EQ(engine.live_generations(), 0);
  stream.ReadToTheEnd();
  EXPECT_FALSE(stream.out.status.ok());
}

}  // namespace
}  // namespace mneme::server
