#include "clients/cli/startup_bench.h"

#include <cstdio>
#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mneme::cli {
namespace {

using testing::HasSubstr;

StartupOptions Demo() {
  StartupOptions options;
  options.executable = "clients/cli/mneme";
  options.model = "models/demo/ultramem";
  options.arguments = {"--ranks=1"};
  return options;
}

TEST(StartupBenchTest, TimesComeInOrderAndTheServerSaysWhatItDid) {
  const absl::StatusOr<StartupRun> run = MeasureStartup(Demo());
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_GT(run->listening, 0);
  EXPECT_GT(run->first_token, run->listening);
  EXPECT_EQ(run->ranks, 1);
  // Of 21 MB of weights a token reads all but most of the table.
  EXPECT_GT(run->step_bytes, 5e6);
  EXPECT_LT(run->step_bytes, 21e6);
  double plan = 0;
  double first_step = 0;
  double others = 0;
  ASSERT_EQ(std::sscanf(run->phases.c_str(),
                        "plan %lf s, tokenizer %lf s, weights %lf s, executor %lf s, first step "
                        "%lf s",
                        &plan, &others, &others, &others, &first_step),
            5)
      << run->phases;
  EXPECT_GT(plan, 0);
  EXPECT_GT(first_step, 0);
  EXPECT_LT(plan + first_step, run->listening);
}

TEST(StartupBenchTest, PrintsMedianAndWorst) {
  StartupOptions options = Demo();
  options.runs = 2;
  std::ostringstream out;
  const absl::Status status = BenchStartup(options, out);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(out.str(), HasSubstr("models/demo/ultramem: 0.02 GB of files in the page cache, 2"));
  EXPECT_THAT(out.str(), HasSubstr("  exec to first token "));
  EXPECT_THAT(out.str(), HasSubstr("first step "));
}

TEST(StartupBenchTest, AServerThatDoesNotStartSaysWhy) {
  StartupOptions options = Demo();
  options.model = "/nowhere";
  const absl::StatusOr<StartupRun> run = MeasureStartup(options);
  EXPECT_EQ(run.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(run.status().message()), HasSubstr("/nowhere: no such folder"));
  std::ostringstream out;
  EXPECT_EQ(BenchStartup(options, out).code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace mneme::cli
