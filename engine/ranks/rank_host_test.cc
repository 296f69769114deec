#include "engine/ranks/rank_host.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "gtest/gtest.h"

namespace mneme::ranks {
namespace {

using std::chrono::milliseconds;
using Clock = Channel::Clock;
constexpr milliseconds kPatience{20'000};
constexpr char kToken[] = "a token of some length";

std::unique_ptr<RankListener> Listener() { return *RankListener::Listen("127.0.0.1:0", kToken); }

TEST(RankHostTest, AFrontWithTheTokenGetsBothConnections) {
  const auto listener = Listener();
  EXPECT_NE(listener->address(), "127.0.0.1:0");
  std::thread rank([&] {
    auto accepted = listener->Accept();
    ASSERT_TRUE(accepted.ok());
    const auto end = Clock::now() + kPatience;
    EXPECT_TRUE(accepted->front->Send(FrameKind::kReady, {}, end).ok());
    EXPECT_TRUE(accepted->control->Send(FrameKind::kHeartbeat, {}, end).ok());
    Frame frame;
    EXPECT_TRUE(accepted->front->Receive(std::chrono::microseconds(0), end, &frame).ok());
    EXPECT_EQ(frame.payload.size(), 100'000u) << "large frames are taken from a front";
  });
  auto peer = *ConnectToRank(listener->address(), kToken, kPatience);
  EXPECT_EQ(peer->name(), listener->address());
  EXPECT_EQ(peer->pid(), -1);
  Frame frame;
  const auto end = Clock::now() + kPatience;
  ASSERT_TRUE(peer->front()->Receive(std::chrono::microseconds(0), end, &frame).ok());
  EXPECT_EQ(frame.kind, FrameKind::kReady);
  ASSERT_TRUE(peer->control()->Receive(std::chrono::microseconds(0), end, &frame).ok());
  EXPECT_EQ(frame.kind, FrameKind::kHeartbeat);
  EXPECT_TRUE(peer->front()->Send(FrameKind::kStep, std::vector<uint8_t>(100'000), end).ok());
  rank.join();
}

int ConnectRaw(const std::string& address) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
  inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  return fd;
}

// Who says nothing of sense, another token, or too much, is cut off; the front comes through.
TEST(RankHostTest, StrangersAreCutOff) {
  const auto listener = Listener();
  std::thread rank([&] { EXPECT_TRUE(listener->Accept().ok()); });
  const int gone = ConnectRaw(listener->address());
  close(gone);
  const int http = ConnectRaw(listener->address());
  ASSERT_GT(send(http, "GET / HTTP/1.1\r\n\r\n", 18, 0), 0);
  char byte;
  EXPECT_LE(recv(http, &byte, 1, 0), 0);
  close(http);
  for (const char* token : {"a token of same length", "another token, and longer",
                            "a token of some lengt", "a token of some length."}) {
    auto peer = *ConnectToRank(listener->address(), token, kPatience);
    Frame frame;
    EXPECT_TRUE(absl::IsUnavailable(
        peer->front()->Receive(std::chrono::microseconds(0), Clock::now() + kPatience, &frame)))
        << token;
  }
  {
    Channel loud(ConnectRaw(listener->address()), 1 << 20);
    (void)loud.Send(FrameKind::kHello, std::vector<uint8_t>(1'000'000), Clock::now() + kPatience);
    Frame frame;
    EXPECT_TRUE(absl::IsUnavailable(
        loud.Receive(std::chrono::microseconds(0), Clock::now() + kPatience, &frame)));
  }
  const auto front = *ConnectToRank(listener->address(), kToken, kPatience);
  rank.join();
}

// One connection of a front that went away, and both of the next.
TEST(RankHostTest, ConnectionsOfDifferentFrontsAreNotMixed) {
  const auto listener = Listener();
  std::vector<uint8_t> hello(16 + sizeof kToken - 1);
  hello[0] = 7;  // its session
  hello[8] = 2;  // its second connection
  std::copy_n(kToken, sizeof kToken - 1, hello.begin() + 16);
  Channel half(ConnectRaw(listener->address()), 1 << 20);
  ASSERT_TRUE(half.Send(FrameKind::kHello, hello, Clock::now() + kPatience).ok());
  std::thread rank([&] {
    auto accepted = listener->Accept();
    ASSERT_TRUE(accepted.ok());
    EXPECT_TRUE(accepted->control->Send(FrameKind::kHeartbeat, {}, Clock::now() + kPatience).ok());
  });
  const auto front = *ConnectToRank(listener->address(), kToken, kPatience);
  Frame frame;
  EXPECT_TRUE(front->control()
                  ->Receive(std::chrono::microseconds(0), Clock::now() + kPatience, &frame)
                  .ok());
  rank.join();
}

TEST(RankHostTest, StopEndsTheWait) {
  const auto listener = Listener();
  std::thread rank([&] { EXPECT_TRUE(absl::IsCancelled(listener->Accept().status())); });
  std::this_thread::sleep_for(milliseconds(20));
  listener->Stop();
  rank.join();
}

TEST(RankHostTest, MistakesAreNamed) {
  EXPECT_EQ(ConnectToRank("here", kToken, kPatience).status().message(),
            "rank address 'here' is not HOST:PORT");
  for (const char* port : {"65536", "-1", "1x", "4294967297"}) {
    const std::string far = std::string("127.0.0.1:") + port;
    EXPECT_EQ(ConnectToRank(far, kToken, kPatience).status().message(),
              "rank address '" + far + "': port '" + port + "' is not in [0, 65535]");
    EXPECT_FALSE(RankListener::Listen(far, kToken).ok());
  }
  EXPECT_EQ(ConnectToRank("127.0.0.1:1", "short", kPatience).status().message(),
            "the ranks' token has 5 bytes, must have 16 to 1024");
  std::string address;
  { address = Listener()->address(); }
  EXPECT_EQ(ConnectToRank(address, kToken, kPatience).status().message(),
            "cannot connect to rank " + address + ": Connection refused");
  const auto listener = Listener();
  EXPECT_EQ(RankListener::Listen(listener->address(), kToken).status().message(),
            "cannot listen on " + listener->address() + ": Address already in use");
  EXPECT_FALSE(RankListener::Listen("127.0.0.1:0", "short").ok());
}

}  // namespace
}  // namespace mneme::ranks
