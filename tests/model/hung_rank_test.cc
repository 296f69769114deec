// A thread that hangs and that nobody takes care of ends the process, after its step has got its
// error. By itself: ThreadSanitizer counts the threads that are left then.

#include <atomic>
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

#include "engine/plan_model.h"
#include "engine/runtime/local_executor.h"
#include "gtest/gtest.h"

namespace mneme::testing {
namespace {

void HangInAStep() {
  ModelOptions options;
  options.model_directory = "tests/golden/ultramem_v2";
  options.max_step_tokens = 64;
  options.max_sequences = 4;
  options.ranks = 2;
  std::atomic<bool> hangs{true};
  runtime::HangOptions hang;
  hang.seconds = 0.3;
  hang.test_rank = 1;
  hang.test_hang = &hangs;
  const PlannedModel planned = PlanModel(options).value();
  const loader::PackedWeights weights = PackModel(planned, options).value();
  const auto executor = runtime::LocalExecutor::Create(planned.plan, weights, false, hang).value();
  const int32_t token = 0;
  runtime::Step* step = executor->NextStep();
  step->AddBlockChange(0, 0, 0);
  step->AddSpan(0, 0, {&token, 1});
  executor->Submit();
  std::fprintf(stderr, "step: %s\n", std::string(executor->Wait().status.message()).c_str());
  for (;;) std::this_thread::sleep_for(std::chrono::seconds(1));
}

TEST(HungRankDeathTest, EndsTheProcess) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(HangInAStep(), ::testing::ExitedWithCode(70), "step: rank 1 hangs");
}

}  // namespace
}  // namespace mneme::testing
