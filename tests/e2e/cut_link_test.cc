// A rank on another host, behind a link that is cut: no packet says so. Every error comes within
// its bound, and when the link is there again so is the service, by itself.

#include <signal.h>

#include <chrono>
#include <iostream>
#include <memory>
#include <string>
#include <thread>

#include "clients/cpp/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/network.h"
#include "tests/e2e/process.h"

namespace mneme::testing {
namespace {

using ::testing::HasSubstr;
using Clock = std::chrono::steady_clock;
using std::chrono::seconds;

absl::Status* own_network = nullptr;

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// A rank that waits for its front on another host.
struct RankThere {
  std::unique_ptr<OtherHost> host;
  std::unique_ptr<Process> process;
  std::string address;

  // Null where there can be no other host: `why` says why.
  static std::unique_ptr<RankThere> Start(std::string* why) {
    static int hosts = 0;
    auto host = own_network->ok() ? OtherHost::Create(++hosts) : *own_network;
    if (!host.ok()) {
      *why = host.status().ToString();
      return nullptr;
    }
    auto rank = std::make_unique<RankThere>();
    rank->host = *std::move(host);
    rank->host->Run([&] {
      rank->process = std::make_unique<Process>(
          std::vector<std::string>{"rank", "--listen", rank->host->there() + ":0", "--model",
                                   "models/demo/ultramem", "--token-file", Token()});
    });
    const std::string line = rank->process->ReadLine();
    EXPECT_THAT(line, HasSubstr("rank waits on " + rank->host->there() + ":"));
    rank->address = line.substr(line.rfind(' ') + 1);
    return rank;
  }
  static std::string Token() { return TokenFile("token", "a token of some length"); }
};

std::unique_ptr<Process> Serve(const std::string& ranks, const std::string& bind) {
  return std::make_unique<Process>(std::vector<std::string>{
      "serve", "--listen=127.0.0.1:0", "--rank-timeout=2", "--rank-hosts", ranks, "--rank-bind",
      bind, "--rank-token-file", RankThere::Token()});
}

class CutLinkTest : public ::testing::TestWithParam<OtherHost::End> {
 protected:
  void SetUp() override {
    std::string why;
    rank_ = RankThere::Start(&why);
    if (rank_ == nullptr) GTEST_SKIP() << "no other host: " << why;
  }

  std::unique_ptr<Process> ServeIt() const { return Serve(rank_->address, rank_->host->here()); }
  absl::Status SetLink(bool up) const { return rank_->host->SetLink(GetParam(), up); }

  std::unique_ptr<RankThere> rank_;
};

TEST_P(CutLinkTest, EndsWhatRunsInTimeAndServiceComesBackByItself) {
  const auto front = ServeIt();
  std::string server;
  const auto client = ConnectTo(front.get(), &server);
  ASSERT_NE(client, nullptr);
  const std::string expected = Text(client.get(), 30).value();
  EXPECT_EQ(HealthOf(server), "SERVING");
  // In the middle of a step, and with nothing to do.
  for (const bool running : {true, false}) {
    std::unique_ptr<client::GenerateStream> stream;
    v1::GenerateReply reply;
    if (running) {
      stream = client->Start(GreedyText(1000), {});
      ASSERT_TRUE(stream->Next(&reply));
    }
    ASSERT_TRUE(SetLink(false).ok());
    const Clock::time_point cut = Clock::now();
    if (running) {
      while (stream->Next(&reply)) {
      }
      const absl::Status status = stream->Finish();
      EXPECT_TRUE(absl::IsUnavailable(status)) << status;
      EXPECT_THAT(std::string(status.message()), HasSubstr("rank 1 (" + rank_->address + "): "));
      std::cout << "a request ended after " << SecondsSince(cut) << " s" << std::endl;
    }
    while (HealthOf(server) == "SERVING" && SecondsSince(cut) < 60) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    std::cout << "health told after " << SecondsSince(cut) << " s" << std::endl;
    // A timeout of 2 s, and what a busy machine adds.
    EXPECT_LT(SecondsSince(cut), 10);
    EXPECT_EQ(HealthOf(server), "NOT_SERVING");
    const Clock::time_point asked = Clock::now();
    EXPECT_TRUE(absl::IsUnavailable(Text(client.get(), 1).status()));
    EXPECT_LT(SecondsSince(asked), 5);
    std::this_thread::sleep_for(seconds(running ? 4 : 0));
    EXPECT_EQ(HealthOf(server), "NOT_SERVING");
    ASSERT_TRUE(SetLink(true).ok());
    const Clock::time_point mended = Clock::now();
    EXPECT_EQ(TextOnceBack(client.get(), 30), expected);
    std::cout << "back after " << SecondsSince(mended) << " s" << std::endl;
    EXPECT_EQ(HealthOf(server), "SERVING");
    EXPECT_LT(SecondsSince(mended), 45);
  }
  front->Signal(SIGTERM);
  EXPECT_EQ(front->Wait(), 0);
  rank_->process->Signal(SIGTERM);
  EXPECT_EQ(rank_->process->Wait(), 0);
}

INSTANTIATE_TEST_SUITE_P(Ends, CutLinkTest,
                         ::testing::Values(OtherHost::End::kHere, OtherHost::End::kThere),
                         [](const auto& info) {
                           return info.param == OtherHost::End::kHere ? "AtTheFront" : "AtTheRank";
                         });

// Nothing is on its way to a rank that loads its weights, so nothing is missed.
using CutSetupTest = CutLinkTest;
TEST_P(CutSetupTest, IsNoticedWhileARankIsSetUp) {
  rank_->process->Signal(SIGSTOP);
  const auto front = ServeIt();
  // The rank's system has taken the connections and the setup.
  std::this_thread::sleep_for(seconds(2));
  ASSERT_TRUE(SetLink(false).ok());
  const Clock::time_point cut = Clock::now();
  ASSERT_TRUE(front->WaitForErr("rank 1 (" + rank_->address + "): "));
  std::cout << "the front gave up after " << SecondsSince(cut) << " s" << std::endl;
  EXPECT_LT(SecondsSince(cut), 30);
  EXPECT_EQ(front->Wait(), 1);
  // The rank gives that front up too, and serves the next.
  rank_->process->Signal(SIGCONT);
  ASSERT_TRUE(SetLink(true).ok());
  const auto next = ServeIt();
  const auto client = ConnectTo(next.get());
  ASSERT_NE(client, nullptr);
  EXPECT_TRUE(Text(client.get(), 3).ok());
}

INSTANTIATE_TEST_SUITE_P(Ends, CutSetupTest, ::testing::Values(OtherHost::End::kThere),
                         [](const auto&) { return "AtTheRank"; });

// Two ranks that reach their front, which reaches them, but not each other: both wait, and live.
TEST(CutBetweenRanksTest, EndsWhatRunsInTimeAndServiceComesBackByItself) {
  std::string why;
  const auto one = RankThere::Start(&why);
  const auto two = one == nullptr ? nullptr : RankThere::Start(&why);
  if (two == nullptr) GTEST_SKIP() << "no other hosts: " << why;
  if (const absl::Status passed = SetForwarding(true); !passed.ok()) GTEST_SKIP() << passed;
  const auto front = Serve(one->address + "," + two->address, one->host->here());
  std::string server;
  const auto client = ConnectTo(front.get(), &server);
  ASSERT_NE(client, nullptr);
  const std::string expected = Text(client.get(), 30).value();
  const auto stream = client->Start(GreedyText(1000), {});
  v1::GenerateReply reply;
  ASSERT_TRUE(stream->Next(&reply));
  ASSERT_TRUE(SetForwarding(false).ok());
  const Clock::time_point cut = Clock::now();
  while (stream->Next(&reply)) {
  }
  EXPECT_TRUE(absl::IsUnavailable(stream->Finish()));
  std::cout << "a request ended after " << SecondsSince(cut) << " s" << std::endl;
  EXPECT_LT(SecondsSince(cut), 40);
  EXPECT_EQ(HealthOf(server), "NOT_SERVING");
  // They try to come together again, in vain.
  std::this_thread::sleep_for(seconds(3));
  EXPECT_TRUE(absl::IsUnavailable(Text(client.get(), 1).status()));
  ASSERT_TRUE(SetForwarding(true).ok());
  const Clock::time_point mended = Clock::now();
  EXPECT_EQ(TextOnceBack(client.get(), 30), expected);
  std::cout << "back after " << SecondsSince(mended) << " s" << std::endl;
  EXPECT_LT(SecondsSince(mended), 45);
}

}  // namespace
}  // namespace mneme::testing

// A process enters namespaces while it has one thread.
int main(int argc, char** argv) {
  absl::Status network = mneme::testing::EnterOwnNetwork();
  mneme::testing::own_network = &network;
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
