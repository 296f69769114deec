// A client that does not read, over gRPC and a real model: its generation pauses after what the
// ring and the connection hold, the neighbours go on, memory does not grow, and when it reads again
// nothing of its text is missing.

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "gtest/gtest.h"
#include "tests/e2e/served_model.h"

namespace mneme::testing {
namespace {

constexpr int kChoices = 8;
constexpr int kTokens = 150;

// What the client lets a server send before it reads; gRPC would change it as it measures the
// network.
constexpr int kWindowBytes = 64 << 10;

// 8 choices of 150 tokens with 20 alternatives each are some 400 KB.
v1::GenerateRequest Loud() {
  v1::GenerateRequest request = TextRequest("hacker: n.", kTokens);
  request.set_n(kChoices);
  request.set_logprobs(20);
  request.mutable_sampling()->set_seed(3);
  request.mutable_stopping()->set_ignore_eos(true);
  return request;
}

int64_t ResidentBytes() {
  int64_t size = 0;
  int64_t resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

class SlowReaderTest : public ::testing::Test {
 protected:
  SlowReaderTest() : served_(SmallCache(), {}) {}

  // What two requests need: a larger cache is given its pages while the test looks at its memory.
  static ServingOptions SmallCache() {
    ServingOptions options = ServedModel::Options(kDemoModel);
    options.kv_cache_bytes = int64_t{20} << 20;
    return options;
  }

  int64_t OutputTokens() { return served_.serving().engine().stats().output_tokens_total; }

  // Waits until there are more than `tokens` and none was made for half a second, at most a minute.
  int64_t TokensOncePaused(int64_t tokens) {
    int64_t before = -1;
    for (int i = 0; i < 120; ++i) {
      const int64_t now = OutputTokens();
      if (now > tokens && now == before) break;
      before = now;
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
    }
    return before;
  }

  ServedModel served_;
};

TEST_F(SlowReaderTest, PausesAloneAndLosesNothing) {
  ASSERT_TRUE(served_.status().ok()) << served_.status();
  client::Client& client = served_.client();
  const auto alone = client.Generate(Loud(), {}, nullptr);
  ASSERT_TRUE(alone.ok()) << alone.status();
  const v1::GenerateRequest quick = Greedy(TextRequest("LOVE, n.", 100));
  const auto quick_alone = client.Generate(quick, {}, nullptr);
  ASSERT_TRUE(quick_alone.ok()) << quick_alone.status();

  const int64_t resident = ResidentBytes();
  const int64_t tokens = OutputTokens();
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kWindowBytes);
  const auto stub = v1::Generation::NewStub(grpc::CreateCustomChannel(
      served_.server().address(), grpc::InsecureChannelCredentials(), arguments));
  grpc::ClientContext context;
  const auto stream = stub->Generate(&context, Loud());
  const int64_t paused_at = TokensOncePaused(tokens) - tokens;
  EXPECT_GT(paused_at, 0);
  EXPECT_LT(paused_at, kChoices * kTokens / 2);

  const auto neighbour = client.Generate(quick, {}, nullptr);
  ASSERT_TRUE(neighbour.ok()) << neighbour.status();
  EXPECT_EQ(neighbour->choices[0].text, quick_alone->choices[0].text);
  EXPECT_EQ(OutputTokens() - tokens - paused_at, 100);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LT(ResidentBytes() - resident, int64_t{32} << 20);
#else
  (void)resident;
#endif

  client::GenerateResult result;
  v1::GenerateReply reply;
  while (stream->Read(&reply)) result.Add(reply);
  ASSERT_TRUE(stream->Finish().ok());
  ASSERT_EQ(result.choices.size(), alone->choices.size());
  for (size_t i = 0; i < result.choices.size(); ++i) {
    EXPECT_EQ(result.choices[i].token_ids.size(), static_cast<size_t>(kTokens));
    EXPECT_EQ(result.choices[i].token_ids, alone->choices[i].token_ids) << i;
    EXPECT_EQ(result.choices[i].text, alone->choices[i].text) << i;
  }
  EXPECT_EQ(served_.WaitUntilWhole(), absl::OkStatus());
}

}  // namespace
}  // namespace mneme::testing
