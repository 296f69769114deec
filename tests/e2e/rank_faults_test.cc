// A server whose ranks are processes, and what becomes of it when one of them, or the front, is
// killed.

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "clients/cpp/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/process.h"

namespace mneme::testing {
namespace {

using ::testing::HasSubstr;
using Clock = std::chrono::steady_clock;

Process Serve(int processes) {
  return Process({"serve", "--listen=127.0.0.1:0", "--rank-timeout=2",
                  "--processes=" + std::to_string(processes)});
}

bool Runs(pid_t pid) {
  std::string stat;
  std::getline(std::ifstream("/proc/" + std::to_string(pid) + "/stat"), stat);
  const size_t end = stat.rfind(')');
  return end != std::string::npos && stat.size() > end + 2 && stat[end + 2] != 'Z';
}

int OpenDescriptors(pid_t pid) {
  const std::filesystem::directory_iterator all("/proc/" + std::to_string(pid) + "/fd");
  return static_cast<int>(std::distance(begin(all), end(all)));
}

TEST(RankFaultsTest, AKilledRankEndsWhatRunsAndServiceComesBackByItself) {
  Process process = Serve(2);
  const auto client = ConnectTo(&process);
  ASSERT_NE(client, nullptr);
  const std::string expected = Text(client.get(), 40).value();
  const int descriptors = OpenDescriptors(process.pid());
  std::mt19937 random(3);
  for (int round = 0; round < 10; ++round) {
    const std::vector<pid_t> ranks = process.Children();
    ASSERT_EQ(ranks.size(), 1u);
    const auto stream = client->Start(GreedyText(1000), {});
    v1::GenerateReply reply;
    ASSERT_TRUE(stream->Next(&reply));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));
    kill(ranks[0], SIGKILL);
    const Clock::time_point begin = Clock::now();
    while (stream->Next(&reply)) {
    }
    const absl::Status status = stream->Finish();
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("rank 1 (process "));
    EXPECT_LT(Clock::now() - begin, std::chrono::seconds(10));
    ASSERT_EQ(TextOnceBack(client.get(), 40), expected);
  }
  // Each rank had two connections; gRPC may have opened some.
  EXPECT_LT(OpenDescriptors(process.pid()), descriptors + 10);
  process.Signal(SIGTERM);
  const std::vector<pid_t> ranks = process.Children();
  EXPECT_EQ(process.Wait(), 0);
  for (pid_t rank : ranks) EXPECT_FALSE(Runs(rank));
  EXPECT_NE(process.err().find("killed by signal 9"), std::string::npos);
  EXPECT_NE(process.err().find("all ranks are back after"), std::string::npos);
}

TEST(RankFaultsTest, RequestsThatRunAsARankStopsEndInTime) {
  Process process = Serve(3);
  const auto client = ConnectTo(&process);
  ASSERT_NE(client, nullptr);
  const std::string expected = Text(client.get(), 20).value();
  const std::vector<pid_t> ranks = process.Children();
  ASSERT_EQ(ranks.size(), 2u);
  const auto stream = client->Start(GreedyText(1000), {});
  v1::GenerateReply reply;
  ASSERT_TRUE(stream->Next(&reply));
  kill(ranks[1], SIGSTOP);
  const Clock::time_point begin = Clock::now();
  while (stream->Next(&reply)) {
  }
  EXPECT_TRUE(absl::IsUnavailable(stream->Finish()));
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(20));
  EXPECT_EQ(TextOnceBack(client.get(), 20), expected);
  EXPECT_FALSE(Runs(ranks[1]));
}

TEST(RankFaultsTest, RanksEndWhenTheirFrontIsKilled) {
  for (const bool running : {false, true}) {
    Process process = Serve(3);
    const auto client = ConnectTo(&process);
    ASSERT_NE(client, nullptr);
    const std::vector<pid_t> ranks = process.Children();
    ASSERT_EQ(ranks.size(), 2u);
    std::unique_ptr<client::GenerateStream> stream;
    v1::GenerateReply reply;
    if (running) {
      stream = client->Start(GreedyText(1000), {});
      ASSERT_TRUE(stream->Next(&reply));
    }
    process.Signal(SIGKILL);
    process.Wait();
    const Clock::time_point end = Clock::now() + std::chrono::seconds(10);
    for (pid_t rank : ranks) {
      while (Runs(rank) && Clock::now() < end) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
      EXPECT_FALSE(Runs(rank)) << rank;
    }
  }
}

// A terminal's Ctrl-C goes to the whole group: the front drains, with its ranks.
TEST(RankFaultsTest, RanksDoNotHearWhatIsForTheFront) {
  Process process = Serve(2);
  const auto client = ConnectTo(&process);
  ASSERT_NE(client, nullptr);
  for (pid_t rank : process.Children()) EXPECT_NE(getpgid(rank), getpgid(process.pid()));
  const auto stream = client->Start(GreedyText(300), {});
  v1::GenerateReply reply;
  ASSERT_TRUE(stream->Next(&reply));
  process.Signal(SIGINT);
  int tokens = 0;
  do {
    for (const v1::ChoiceDelta& delta : reply.choices()) tokens += delta.token_ids_size();
  } while (stream->Next(&reply));
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(tokens, 300);
  EXPECT_EQ(process.Wait(), 0);
}

std::unique_ptr<Process> RankHost(const std::string& address, const std::string& token_file,
                                  std::string* bound) {
  auto rank = std::make_unique<Process>(std::vector<std::string>{
      "rank", "--listen", address, "--model", "models/demo/ultramem", "--token-file", token_file});
  const std::string line = rank->ReadLine();
  EXPECT_THAT(line, HasSubstr("rank waits on 127.0.0.1:"));
  *bound = line.substr(line.rfind(' ') + 1);
  return rank;
}

// Ranks that are no children: as on other hosts.
TEST(RankHostsTest, ServeAFrontAfterAnotherAndComeBack) {
  const std::string token = TokenFile("token", "a token of some length");
  std::string first;
  std::string second;
  auto one = RankHost("127.0.0.1:0", token, &first);
  auto two = RankHost("127.0.0.1:0", token, &second);
  std::string expected;
  for (int front = 0; front < 2; ++front) {
    Process process({"serve", "--listen=127.0.0.1:0", "--rank-timeout=2", "--rank-hosts",
                     first + "," + second, "--rank-token-file", token});
    const auto client = ConnectTo(&process);
    ASSERT_NE(client, nullptr);
    const std::string text = Text(client.get(), 30).value();
    EXPECT_TRUE(front == 0 || text == expected);
    expected = text;
    if (front == 0) {
      const auto stream = client->Start(GreedyText(1000), {});
      v1::GenerateReply reply;
      ASSERT_TRUE(stream->Next(&reply));
      two->Signal(SIGKILL);
      two->Wait();
      while (stream->Next(&reply)) {
      }
      EXPECT_TRUE(absl::IsUnavailable(stream->Finish()));
      // Its own supervisor starts it again.
      two = RankHost(second, token, &second);
      EXPECT_EQ(TextOnceBack(client.get(), 30), expected);
    }
    process.Signal(SIGTERM);
    EXPECT_EQ(process.Wait(), 0);
  }
  one->Signal(SIGTERM);
  EXPECT_EQ(one->Wait(), 0);
}

TEST(RankHostsTest, AnotherTokenIsRefused) {
  std::string address;
  auto rank = RankHost("127.0.0.1:0", TokenFile("right", "a token of some length"), &address);
  Process process({"serve", "--listen=127.0.0.1:0", "--rank-hosts", address, "--rank-token-file",
                   TokenFile("wrong", "a token of same length")});
  EXPECT_EQ(process.Wait(), 1);
  EXPECT_THAT(process.err(), HasSubstr("rank 1 (" + address + "): "));
}

TEST(RankVerbTest, SaysWhoStartsIt) {
  Process process({"rank"});
  EXPECT_EQ(process.Wait(), 1);
  EXPECT_THAT(process.err(), HasSubstr("a rank is started by the front process"));
}

}  // namespace
}  // namespace mneme::testing
