// Many steps on ranks that are processes leave nothing behind, and many requests at once give bit
// for bit what each gives alone on threads.

#include <iostream>

#include "clients/cli/invocation.h"
#include "engine/serving_load.h"
#include "engine/soak.h"
#include "gtest/gtest.h"

namespace mneme::testing {
namespace {

void AsProcesses(bool tcp, ServingOptions* options) {
  options->process.processes = options->ranks;
  options->process.executable = "clients/cli/mneme";
  options->process.build = cli::kVersion;
  options->process.tcp = tcp;
  // Nobody is lost here, however busy the machine is.
  options->process.rank_timeout_seconds = 60;
}

class ProcessesLoadTest : public ::testing::TestWithParam<bool> {};

TEST_P(ProcessesLoadTest, NothingIsLeftOfManySteps) {
#if defined(__SANITIZE_ADDRESS__)
  constexpr int64_t kSteps = 400;
  std::cout << "fewer steps under a sanitizer" << std::endl;
#else
  constexpr int64_t kSteps = 2000;  // of each transport; of threads: engine/soak_test.cc
#endif
  SoakInEpisodes({.ranks = {2, 3},
                  .steps = kSteps,
                  .steps_of_each = 250,
                  .seed = 21,
                  .edit = [](ServingOptions* options) { AsProcesses(GetParam(), options); }});
}

TEST_P(ProcessesLoadTest, ManyAtOnceGiveWhatEachGivesAloneWithEverythingSplit) {
  for (const int32_t ranks : {2, 3}) {
    ServingOptions options;
    options.model_directory = "tests/golden/ultramem_v2";
    options.max_step_tokens = 48;
    options.max_sequences = 16;
    options.ranks = ranks;
    options.pins.weights = plan::LayoutPins::Weights::kSplit;
    options.pins.tables = plan::LayoutPins::Tables::kRows;
    ServingOptions alone = options;
    alone.max_step_tokens = 16;
    AsProcesses(GetParam(), &options);
    ExpectManyAtOnceGiveWhatEachGivesAlone(options, alone);
  }
  EXPECT_TRUE(NoChildIsLeft());
}

INSTANTIATE_TEST_SUITE_P(Transports, ProcessesLoadTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Tcp" : "SharedMemory"; });

}  // namespace
}  // namespace mneme::testing
