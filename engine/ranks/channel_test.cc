#include "engine/ranks/channel.h"

#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>

#include "gtest/gtest.h"

namespace mneme::ranks {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using Clock = Channel::Clock;

Clock::time_point Soon() { return Clock::now() + milliseconds(50); }
Clock::time_point Later() { return Clock::now() + std::chrono::seconds(60); }

struct Ends {
  explicit Ends(uint64_t most = 1 << 26) {
    const Channel::Pair pair = *Channel::MakePair();
    one = std::make_unique<Channel>(pair.mine, most);
    other = std::make_unique<Channel>(pair.theirs, most);
  }
  std::unique_ptr<Channel> one;
  std::unique_ptr<Channel> other;
};

std::vector<uint8_t> Numbers(size_t count) {
  std::vector<uint8_t> bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<uint8_t>(i * 31 >> 3);
  return bytes;
}

TEST(ChannelTest, FramesArriveWholeAndInOrder) {
  Ends ends;
  // Larger than what a socket holds: both sides are at work.
  const size_t sizes[] = {0, 1, 15, 4096, 3'000'000, 7};
  std::thread sender([&] {
    for (size_t size : sizes) {
      ASSERT_TRUE(ends.one->Send(FrameKind::kStep, Numbers(size), Later()).ok());
    }
  });
  Frame frame;
  for (const microseconds spin : {microseconds(0), microseconds(50)}) {
    for (size_t i = 0; i < 3; ++i) {
      const size_t size = sizes[i + (spin.count() > 0 ? 3 : 0)];
      ASSERT_TRUE(ends.other->Receive(spin, Later(), &frame).ok());
      EXPECT_EQ(frame.kind, FrameKind::kStep);
      EXPECT_EQ(frame.payload, Numbers(size));
      EXPECT_EQ(frame.fd, -1);
    }
  }
  sender.join();
}

TEST(ChannelTest, AFrameCarriesADescriptor) {
  Ends ends;
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  ASSERT_TRUE(ends.one->Send(FrameKind::kSetup, Numbers(10), Later(), pipe_ends[0]).ok());
  close(pipe_ends[0]);
  Frame frame;
  ASSERT_TRUE(ends.other->Receive(microseconds(0), Later(), &frame).ok());
  ASSERT_GE(frame.fd, 0);
  ASSERT_EQ(write(pipe_ends[1], "x", 1), 1);
  char c = 0;
  EXPECT_EQ(read(frame.fd, &c, 1), 1);
  EXPECT_EQ(c, 'x');
  close(frame.fd);
  close(pipe_ends[1]);
}

TEST(ChannelTest, SilenceIsNoEnd) {
  Ends ends;
  Frame frame;
  const Clock::time_point end = Soon();
  const absl::Status status = ends.other->Receive(microseconds(10), end, &frame);
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_GE(Clock::now(), end);
  ASSERT_TRUE(ends.one->Send(FrameKind::kLeft, {}, Later()).ok());
  EXPECT_TRUE(ends.other->Receive(microseconds(0), Later(), &frame).ok());
}

TEST(ChannelTest, APeerThatIsGoneIsAnErrorOnBothSides) {
  for (const bool shutdown : {false, true}) {
    Ends ends;
    if (shutdown) {
      ends.other->Shutdown();
    } else {
      ends.other.reset();
    }
    Frame frame;
    EXPECT_TRUE(absl::IsUnavailable(ends.one->Receive(microseconds(50), Later(), &frame)));
    EXPECT_TRUE(absl::IsUnavailable(ends.one->Send(FrameKind::kStep, Numbers(10), Later())));
  }
}

TEST(ChannelTest, ShutdownEndsAWait) {
  Ends ends;
  std::thread waiter([&] {
    Frame frame;
    EXPECT_TRUE(
        absl::IsUnavailable(ends.one->Receive(microseconds(0), Clock::time_point::max(), &frame)));
  });
  std::this_thread::sleep_for(milliseconds(20));
  ends.one->Shutdown();
  waiter.join();
}

TEST(ChannelTest, WhoTakesNothingIsNotWaitedForLonger) {
  Ends ends;
  absl::Status status;
  for (int i = 0; i < 100 && status.ok(); ++i) {
    status = ends.one->Send(FrameKind::kStep, Numbers(100'000), Soon());
  }
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
}

TEST(ChannelTest, WhatIsNoFrameIsRefused) {
  Frame frame;
  {
    Ends ends;
    const std::string text = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    ASSERT_GT(send(ends.one->socket(), text.data(), text.size(), 0), 0);
    EXPECT_EQ(ends.other->Receive(microseconds(0), Later(), &frame).message().substr(0, 46),
              "the peer sent no message of ours: magic 205445");
  }
  {
    Ends ends(/*most=*/1000);
    ASSERT_TRUE(ends.one->Send(FrameKind::kStep, Numbers(1001), Later()).ok());
    const absl::Status status = ends.other->Receive(microseconds(0), Later(), &frame);
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    EXPECT_NE(status.message().find("1001 bytes, the most is 1000"), absl::string_view::npos)
        << status;
  }
  {
    Ends ends;
    ASSERT_EQ(send(ends.one->socket(), "MRNK", 4, 0), 4);
    const absl::Status status = ends.other->Receive(microseconds(0), Soon(), &frame);
    EXPECT_EQ(status.message(), "the peer sent half a message");
  }
}

}  // namespace
}  // namespace mneme::ranks
