// `mneme plan --explain` of two golden models, as text, line by line. To accept a change that is
// meant, run the test with --update from the workspace root and read the difference.

#include "engine/plan_model.h"

#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/plan/explain.h"
#include "gtest/gtest.h"

namespace mneme {
namespace {

bool update = false;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void Check(const std::string& name) {
  ModelOptions options;
  options.model_directory = "tests/golden/" + name;
  options.isa = kernels::Isa::kPortable;
  options.max_step_tokens = 32;
  options.max_sequences = 4;
  options.kv_cache_bytes = 1 << 20;
  absl::StatusOr<PlannedModel> planned = PlanModel(options);
  ASSERT_TRUE(planned.ok()) << planned.status();
  const std::string text = plan::Explain(planned->plan);
  const std::string path = "engine/testdata/" + name + ".plan.txt";
  if (update) {
    std::ofstream(path) << text;
    return;
  }
  EXPECT_EQ(text, ReadFile(path));
}

TEST(PlanModelTest, MemoryModel) { Check("ultramem_v2"); }
TEST(PlanModelTest, ModelWithSkippedMemoryAndEveryOption) { Check("ultramem_v2_options"); }

ModelOptions Options(const std::string& name) {
  ModelOptions options;
  options.model_directory = "tests/golden/" + name;
  return options;
}

TEST(PlanModelTest, AShorterContextSizesWhatDependsOnIt) {
  ModelOptions options = Options("dense");
  const v1::Plan whole = PlanModel(options)->plan;
  options.max_model_len = 33;
  const absl::StatusOr<PlannedModel> planned = PlanModel(options);
  ASSERT_TRUE(planned.ok()) << planned.status();
  EXPECT_EQ(planned->plan.limits().max_positions(), 33);
  EXPECT_EQ(planned->plan.limits().kv_blocks(), 3 * options.max_sequences);
  for (const v1::Weight& w : planned->plan.weights()) {
    if (w.name() == "rope_cos") {
      EXPECT_EQ(w.shape(0), 33);
    }
  }
  EXPECT_LT(planned->plan.memory(0).kv_bytes(), whole.memory(0).kv_bytes());
  options.max_model_len = whole.limits().max_positions() + 1;
  EXPECT_EQ(PlanModel(options).status().message(),
            "max_model_len is 129, the model was made for 1 to 128 tokens");
}

TEST(PlanModelTest, AModelMustFitItsCluster) {
  ModelOptions options = Options("dense");
  options.cluster = *plan::NamedCluster("1xcpu");
  options.cluster->memory[0].bytes = int64_t{1} << 40;
  EXPECT_TRUE(PlanModel(options).ok());
  options.cluster->memory[0].bytes = 100'000;
  const absl::Status status = PlanModel(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("no plan fits: all ranks together would hold at least "),
            std::string::npos)
      << status;
  EXPECT_NE(status.message().find("on 1 rank, there are 100000"), std::string::npos) << status;
}

TEST(PlanModelTest, AReportIsOfAnyClusterAPlanOfOneAxisOfCpus) {
  ModelOptions options = Options("dense");
  options.ranks = 0;
  options.cluster = *plan::NamedCluster("16xh100");
  EXPECT_EQ(ReportModel(options, /*runner_ups=*/false)->steps.size(), 4u);
  EXPECT_EQ(PlanModel(options).status().code(), absl::StatusCode::kUnimplemented);
  options.cluster = *plan::NamedCluster("4xcpu");
  options.ranks = 3;
  EXPECT_EQ(ReportModel(options, false)->cluster.ranks(), 3);
  EXPECT_EQ(PlanModel(options)->plan.cluster().ranks(), 3);
}

// Threads have their memory together, processes each their own.
TEST(PlanModelTest, AWeightIsSplitWhereARankCannotHoldIt) {
  ModelOptions options = Options("ultramem_v2");
  options.kv_cache_bytes = 1 << 20;
  options.max_step_tokens = 32;
  options.max_sequences = 4;
  options.cost.exchange_seconds = 1;  // nothing is split that need not be
  options.process.processes = 2;
  const absl::StatusOr<PlannedModel> whole = PlanModel(options);
  ASSERT_TRUE(whole.ok()) << whole.status();
  const auto held = [](const v1::Plan& plan) {
    return plan.memory(0).weight_bytes() + plan.memory(0).kv_bytes();
  };
  const int64_t weights = whole->plan.memory(0).weight_bytes();
  const int64_t registers = whole->plan.memory(0).arena_bytes();
  const int64_t most = held(whole->plan) + registers - weights / 2;
  options.memory_per_rank_bytes = most;
  const absl::StatusOr<PlannedModel> split = PlanModel(options);
  ASSERT_TRUE(split.ok()) << split.status();
  EXPECT_LT(split->plan.memory(0).weight_bytes(), weights);
  // The planner counts registers before they are placed.
  EXPECT_LE(held(split->plan), held(whole->plan) - weights / 4);
  options.memory_per_rank_bytes = 1000;
  EXPECT_EQ(PlanModel(options).status().code(), absl::StatusCode::kResourceExhausted);

  options.process.processes = 0;
  options.ranks = 2;
  options.memory_per_rank_bytes = most;
  const absl::StatusOr<PlannedModel> threads = PlanModel(options);
  ASSERT_TRUE(threads.ok()) << threads.status();
  EXPECT_EQ(threads->plan.memory(0).weight_bytes(), weights);
}

// Ranks that read one key-value head each keep it: the budget is for all copies.
TEST(PlanModelTest, TheCacheOfAllRanksIsWithinItsSize) {
  for (int32_t ranks : {1, 2, 3, 8}) {
    ModelOptions options = Options("dense");
    options.ranks = ranks;
    options.kv_cache_bytes = int64_t{4} << 20;
    const v1::Plan plan = PlanModel(options)->plan;
    int64_t bytes = 0;
    for (const v1::RankMemory& rank : plan.memory()) bytes += rank.kv_bytes();
    EXPECT_LE(bytes, options.kv_cache_bytes) << ranks;
    // One more block would not fit.
    EXPECT_GT(bytes / plan.limits().kv_blocks() * (plan.limits().kv_blocks() + 1),
              options.kv_cache_bytes)
        << ranks;
  }
}

TEST(PlanModelTest, MoreMemoryThanThereIsIsRefusedBeforeItIsTouched) {
  ModelOptions options = Options("dense");
  options.kv_cache_bytes = int64_t{1} << 44;
  absl::StatusOr<PlannedModel> planned = PlanModel(options);
  ASSERT_TRUE(planned.ok()) << planned.status();
  absl::Status status = PackModel(*planned, options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find(absl::StrCat(planned->plan.memory(0).kv_bytes())),
            std::string::npos)
      << status;

  options.kv_cache_bytes = 0;
  planned = PlanModel(options);
  ASSERT_TRUE(planned.ok()) << planned.status();
  for (v1::Weight& w : *planned->plan.mutable_weights()) {
    if (w.name() == "rope_sin") w.set_bytes(int64_t{1} << 50);
  }
  status = PackModel(*planned, options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
}

}  // namespace
}  // namespace mneme

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  mneme::update = argc > 1 && std::string(argv[1]) == "--update";
  return RUN_ALL_TESTS();
}
