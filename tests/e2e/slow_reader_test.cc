// A client that does not read, over gRPC and a real model: its generation pauses after what the
// ring and the connection hold, the neighbours go on, memory does not grow, and when it reads again
// nothing of its text is missing.

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "clients/cli/invocation.h"
#include "gtest/gtest.h"
#include "tests/e2e/process.h"
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

int64_t ResidentBytes(pid_t pid) {
  int64_t size = 0;
  int64_t resident = 0;
  std::ifstream("/proc/" + std::to_string(pid) + "/statm") >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

enum class Ranks : uint8_t { kThread, kSharedMemory, kTcp };

class SlowReaderTest : public ::testing::TestWithParam<Ranks> {
 protected:
  SlowReaderTest() : served_(Options(), {}) {}

  // One thread, or two processes. The cache is what two requests need: a larger one is given its
  // pages while the test looks at its memory.
  static ServingOptions Options() {
    ServingOptions options = ServedModel::Options(kDemoModel);
    options.kv_cache_bytes = int64_t{20} << 20;
    if (GetParam() == Ranks::kThread) return options;
    options.ranks = 2;
    options.process.processes = 2;
    options.process.executable = "clients/cli/mneme";
    options.process.build = cli::kVersion;
    options.process.tcp = GetParam() == Ranks::kTcp;
    return options;
  }

  // Of this process and the other ranks'.
  static int64_t AllResidentBytes() {
    int64_t bytes = ResidentBytes(getpid());
    for (pid_t rank : ChildrenOf(getpid())) bytes += ResidentBytes(rank);
    return bytes;
  }

  // Reads nothing yet.
  std::unique_ptr<grpc::ClientReader<v1::GenerateReply>> StartLoud(grpc::ClientContext* context) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kWindowBytes);
    stub_ = v1::Generation::NewStub(grpc::CreateCustomChannel(
        served_.server().address(), grpc::InsecureChannelCredentials(), arguments));
    return stub_->Generate(context, Loud());
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
  std::unique_ptr<v1::Generation::Stub> stub_;
};

TEST_P(SlowReaderTest, PausesAloneAndLosesNothing) {
  ASSERT_TRUE(served_.status().ok()) << served_.status();
  client::Client& client = served_.client();
  const auto alone = client.Generate(Loud(), {}, nullptr);
  ASSERT_TRUE(alone.ok()) << alone.status();
  const v1::GenerateRequest quick = Greedy(TextRequest("LOVE, n.", 100));
  const auto quick_alone = client.Generate(quick, {}, nullptr);
  ASSERT_TRUE(quick_alone.ok()) << quick_alone.status();

  const int64_t resident = AllResidentBytes();
  const int64_t tokens = OutputTokens();
  grpc::ClientContext context;
  const auto stream = StartLoud(&context);
  const int64_t paused_at = TokensOncePaused(tokens) - tokens;
  EXPECT_GT(paused_at, 0);
  EXPECT_LT(paused_at, kChoices * kTokens / 2);

  const auto neighbour = client.Generate(quick, {}, nullptr);
  ASSERT_TRUE(neighbour.ok()) << neighbour.status();
  EXPECT_EQ(neighbour->choices[0].text, quick_alone->choices[0].text);
  EXPECT_EQ(OutputTokens() - tokens - paused_at, 100);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LT(AllResidentBytes() - resident, int64_t{32} << 20);
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

TEST_P(SlowReaderTest, GivesItsBlocksBackWhenItIsCancelled) {
  ASSERT_TRUE(served_.status().ok()) << served_.status();
  grpc::ClientContext context;
  const auto stream = StartLoud(&context);
  EXPECT_GT(TokensOncePaused(0), 0);
  const EngineStats paused = served_.serving().engine().stats();
  EXPECT_LT(paused.kv_blocks_free, paused.kv_blocks_total);
  context.TryCancel();
  EXPECT_EQ(served_.WaitUntilWhole(), absl::OkStatus());
  v1::GenerateReply reply;
  while (stream->Read(&reply)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(served_.client().Generate(Greedy(TextRequest("LOVE, n.", 5)), {}, nullptr).ok());
}

INSTANTIATE_TEST_SUITE_P(On, SlowReaderTest,
                         ::testing::Values(Ranks::kThread, Ranks::kSharedMemory, Ranks::kTcp),
                         [](const auto& info) {
                           return info.param == Ranks::kThread         ? "AThread"
                                  : info.param == Ranks::kSharedMemory ? "ProcessesThatShareMemory"
                                                                       : "ProcessesOverTcp";
                         });

}  // namespace
}  // namespace mneme::testing
