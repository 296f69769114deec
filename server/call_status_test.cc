#include "server/call_status.h"

#include <gtest/gtest.h>

namespace mneme::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::system_clock;

TEST(CallStatusTest, KeepsCodeAndMessage) {
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
  const grpc::Status status = ToGrpcStatus(absl::ResourceExhaustedError("n: 3"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(status.error_message(), "n: 3");
}

TEST(WhyGoneTest, TellsADeadlineFromACancel) {
  const Clock::time_point start = Clock::now();
  const CallTimes times{.start = start, .deadline = start + seconds(100)};
  EXPECT_EQ(WhyGone(times, start + seconds(1)).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(WhyGone(times, start + seconds(97)).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(WhyGone(times, start + seconds(99)).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(WhyGone(times, start + seconds(101)).code(), absl::StatusCode::kDeadlineExceeded);
  const CallTimes brief{.start = start, .deadline = start + milliseconds(200)};
  EXPECT_EQ(WhyGone(brief, start + milliseconds(100)).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(WhyGone(brief, start + milliseconds(190)).code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(WhyGoneTest, WithoutADeadlineItWasACancel) {
  const Clock::time_point start = Clock::now();
  const CallTimes times{.start = start, .deadline = Clock::time_point::max()};
  EXPECT_EQ(WhyGone(times, start + std::chrono::hours(24 * 365)).code(),
            absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace mneme::server
