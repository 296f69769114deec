// The binary as a process: it says where it listens, drains on SIGTERM, ends with status 0; a
// second signal hurries it; mistakes end with a status and a message.

#include "tests/e2e/process.h"

#include <signal.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "clients/cpp/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mneme::testing {
namespace {

using ::testing::HasSubstr;
using Clock = std::chrono::steady_clock;

TEST(ServeProcessTest, DrainsOnSigtermAndEndsWithZero) {
  Process process({"serve", "--listen", "127.0.0.1:0"});
  const auto client = ConnectTo(&process);
  ASSERT_NE(client, nullptr);
  const auto stream = client->Start(GreedyText(900), {});
  v1::GenerateReply reply;
  ASSERT_TRUE(stream->Next(&reply));
  process.Signal(SIGTERM);
  client::GenerateResult result;
  result.Add(reply);
  while (stream->Next(&reply)) result.Add(reply);
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(result.choices[0].token_ids.size(), 900u);
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_THAT(process.err(), HasSubstr("output_tokens=900"));
  EXPECT_THAT(process.err(), HasSubstr("finish=length status=OK"));
}

TEST(ServeProcessTest, ASignalAtOnceAfterTheLineEndsItWithZero) {
  Process process({"serve", "--listen=127.0.0.1:0"});
  EXPECT_THAT(process.ReadLine(), HasSubstr("listening on 127.0.0.1:"));
  process.Signal(SIGTERM);
  EXPECT_EQ(process.Wait(), 0);
  // The same with the signal in the middle of printing the line.
  Process stuck({"serve", "--listen=127.0.0.1:0"}, /*full_out=*/true);
  ASSERT_TRUE(stuck.WaitForErr(" model "));
  stuck.Signal(SIGTERM);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_THAT(stuck.ReadRest(), HasSubstr("listening on 127.0.0.1:"));
  EXPECT_EQ(stuck.Wait(), 0);
}

TEST(ServeProcessTest, ALogThatNobodyReadsStopsNeitherServingNorTheEnd) {
  for (const Process::Err err : {Process::Err::kGone, Process::Err::kFull}) {
    Process process({"serve", "--listen=127.0.0.1:0"}, /*full_out=*/false, err);
    const auto client = ConnectTo(&process);
    ASSERT_NE(client, nullptr);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(Text(client.get(), 2).ok());
    process.Signal(SIGTERM);
    EXPECT_EQ(process.Wait(), 0);
  }
}

TEST(ServeProcessTest, WhatDoesNotEndInTimeIsCutShort) {
  Process process({"serve", "--listen=127.0.0.1:0", "--drain-seconds=0", "--kernels=reference"});
  const auto client = ConnectTo(&process);
  ASSERT_NE(client, nullptr);
  const auto stream = client->Start(GreedyText(1000), {});
  v1::GenerateReply reply;
  ASSERT_TRUE(stream->Next(&reply));
  process.Signal(SIGTERM);
  while (stream->Next(&reply)) {
  }
  EXPECT_EQ(stream->Finish().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(process.Wait(), 0);
}

TEST(ServeProcessTest, ASecondSignalHurriesIt) {
  Process process({"serve", "--listen=127.0.0.1:0", "--kernels=reference"});
  const auto client = ConnectTo(&process);
  ASSERT_NE(client, nullptr);
  const auto stream = client->Start(GreedyText(1000), {});
  v1::GenerateReply reply;
  ASSERT_TRUE(stream->Next(&reply));
  process.Signal(SIGINT);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  process.Signal(SIGINT);
  const Clock::time_point start = Clock::now();
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(5));
}

TEST(ServeProcessTest, AnAddressInUseIsAnError) {
  Process first({"serve", "--listen=127.0.0.1:0"});
  const std::string line = first.ReadLine();
  const std::string address = line.substr(line.rfind(' ') + 1);
  Process second({"serve", "--listen", address});
  EXPECT_EQ(second.ReadRest(), "");
  EXPECT_EQ(second.Wait(), 1);
  EXPECT_THAT(second.err(), HasSubstr("cannot listen on " + address));
}

TEST(GenerateProcessTest, CtrlCCancelsCleanly) {
  Process server({"serve", "--listen=127.0.0.1:0", "--kernels=reference"});
  const std::string line = server.ReadLine();
  Process process({"generate", "--server", line.substr(line.rfind(' ') + 1), "hacker: n.",
                   "--ignore-eos", "--temperature=0", "--json"});
  EXPECT_EQ(process.ReadLine(), "");  // the first token is a line's end
  process.Signal(SIGINT);
  const std::string rest = process.ReadRest();
  EXPECT_EQ(process.Wait(), 130);
  EXPECT_THAT(rest, HasSubstr("\"finish_reason\":\"cancelled\""));
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait(), 0);
  EXPECT_THAT(server.err(), HasSubstr("finish=cancelled status=CANCELLED"));
}

TEST(MistakesTest, EndWithAStatusAndAMessage) {
  Process unknown({"srve"});
  EXPECT_EQ(unknown.Wait(), 2);
  EXPECT_EQ(unknown.err(), "mneme: unknown verb 'srve'; did you mean 'serve'?\n");
  Process flag({"serve", "--prot", "1"});
  EXPECT_EQ(flag.Wait(), 2);
  EXPECT_THAT(flag.err(), HasSubstr("unknown flag --prot"));
  Process model({"serve", "--model", "no/such/model"});
  EXPECT_EQ(model.Wait(), 1);
  EXPECT_THAT(model.err(), HasSubstr("no/such/model"));
}

}  // namespace
}  // namespace mneme::testing
