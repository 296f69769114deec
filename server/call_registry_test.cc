#include "server/call_registry.h"

#include <gtest/gtest.h>

#include <thread>

namespace mneme::server {
namespace {

using Clock = std::chrono::steady_clock;

struct TestCall : Abortable {
  void Abort(const absl::Status& why) override { aborted = why; }
  absl::Status aborted;
};

TEST(CallRegistryTest, AdmitsUpToTheLimitAndNoneOnceClosed) {
  CallRegistry registry(2);
  TestCall a, b, c;
  EXPECT_TRUE(registry.Add(&a).ok());
  EXPECT_TRUE(registry.Add(&b).ok());
  EXPECT_EQ(registry.Add(&c).code(), absl::StatusCode::kResourceExhausted);
  registry.Remove(&a);
  EXPECT_TRUE(registry.Add(&c).ok());
  registry.Remove(&c);
  registry.Close();
  EXPECT_EQ(registry.Add(&c).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(registry.size(), 1);
}

TEST(CallRegistryTest, AbortsWhatIsUnderWayOnly) {
  CallRegistry registry(3);
  TestCall a, b;
  ASSERT_TRUE(registry.Add(&a).ok());
  ASSERT_TRUE(registry.Add(&b).ok());
  registry.Remove(&b);
  registry.AbortAll(absl::UnavailableError("over"));
  EXPECT_EQ(a.aborted.message(), "over");
  EXPECT_TRUE(b.aborted.ok());
}

TEST(CallRegistryTest, WaitsUntilTheLastIsRemoved) {
  CallRegistry registry(1);
  EXPECT_TRUE(registry.WaitUntilEmpty(Clock::now()));
  TestCall call;
  ASSERT_TRUE(registry.Add(&call).ok());
  EXPECT_FALSE(registry.WaitUntilEmpty(Clock::now() + std::chrono::milliseconds(5)));
  std::thread remover([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    registry.Remove(&call);
  });
  EXPECT_TRUE(registry.WaitUntilEmpty(Clock::now() + std::chrono::seconds(30)));
  remover.join();
}

}  // namespace
}  // namespace mneme::server
