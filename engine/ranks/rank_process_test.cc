#include "engine/ranks/rank_process.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "gtest/gtest.h"

namespace mneme::ranks {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds kLong{60'000};

TEST(RankProcessTest, SaysHowItEnded) {
  auto process = *RankProcess::Start("/bin/false");
  EXPECT_EQ(process->Ended(kLong), "ended with status 1");
  EXPECT_EQ(process->Ended(kLong), "ended with status 1");
  // Its ends of the connections are closed.
  Frame frame;
  EXPECT_TRUE(absl::IsUnavailable(process->front()->Receive(
      std::chrono::microseconds(0), Channel::Clock::now() + kLong, &frame)));
}

TEST(RankProcessTest, EndsWithItsOwner) {
  auto process = *RankProcess::Start("/bin/true");
  const pid_t pid = process->pid();
  process.reset();
  EXPECT_EQ(kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST(RankProcessTest, WhatCannotBeStartedIsNamed) {
  const auto process = RankProcess::Start("/no/such/program");
  EXPECT_EQ(process.status().message(),
            "cannot start '/no/such/program rank': No such file or directory");
}

}  // namespace
}  // namespace mneme::ranks
