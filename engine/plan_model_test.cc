// `mneme plan --explain` of two golden models, as text, line by line. To accept a change that is
// meant, run the test with --update from the workspace root and read the difference.

#include "engine/plan_model.h"

#include <algorithm>
#include <fstream>
#include <functional>
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

// Of the fullest rank, or of all where they share their memory.
int64_t Held(const v1::Plan& plan, bool shared) {
  int64_t most = 0;
  int64_t all = 0;
  for (const v1::RankMemory& rank : plan.memory()) {
    const int64_t beside_weights = rank.kv_bytes() + rank.arena_bytes();
    most = std::max(most, rank.weight_bytes() + beside_weights);
    all += beside_weights;
  }
  for (const v1::Weight& w : plan.weights()) {
    if (w.shared_with().empty()) all += w.bytes();
  }
  return shared ? all : most;
}

// How often a limit forbids what would be chosen without it, and there is another plan.
int PlansWithin(ModelOptions options, bool shared,
                const std::function<absl::StatusOr<PlannedModel>(const ModelOptions&)>& plan) {
  const auto most = [&](int64_t bytes) {
    options.cluster->memory[0].bytes = bytes;
    return plan(options);
  };
  const int64_t free = Held(most(0)->plan, shared);
  EXPECT_EQ(Held(most(free)->plan, shared), free);  // nothing is kept in reserve
  int binding = 0;
  for (int64_t bytes = free - 1; bytes > 0; bytes -= free / 7) {
    const absl::StatusOr<PlannedModel> limited = most(bytes);
    if (!limited.ok()) {
      EXPECT_EQ(limited.status().code(), absl::StatusCode::kResourceExhausted) << limited.status();
      break;
    }
    EXPECT_LE(Held(limited->plan, shared), bytes);
    ++binding;
  }
  return binding;
}

TEST(PlanModelTest, NoRankHoldsMoreThanItMay) {
  int binding = 0;
  for (const char* name : {"dense", "dense_llama", "memory_plus", "ultramem_v1_skip", "ultramem_v2",
                           "ultramem_v2_corners", "ultramem_v2_expand", "ultramem_v2_options"}) {
    for (int32_t ranks : {1, 2, 3, 4}) {
      for (bool shared : {false, true}) {
        SCOPED_TRACE(absl::StrCat(name, " on ", ranks, shared ? " threads" : " processes"));
        ModelOptions options = Options(name);
        options.cluster = *plan::NamedCluster("4xcpu");
        options.ranks = shared ? ranks : 1;
        options.process.processes = shared ? 0 : ranks;
        options.process.hosts.resize(shared ? 0 : ranks - 1);  // each with memory of its own
        options.kv_cache_bytes = 1 << 18;
        options.max_step_tokens = 64;
        options.max_sequences = 4;
        binding += PlansWithin(options, shared, PlanModel);
      }
    }
  }
  EXPECT_GT(binding, 60);
  for (const char* shape : {"ultramem-1b-7b", "ultramem-2.5b-120b"}) {
    for (int32_t ranks : {2, 8}) {
      SCOPED_TRACE(absl::StrCat(shape, " on ", ranks));
      ModelOptions options;
      options.cluster = *plan::NamedCluster("8xcpu");
      options.kv_cache_bytes = 1 << 28;  // by default it depends on what is free
      options.process.processes = ranks;
      options.process.hosts.resize(ranks - 1);
      EXPECT_GT(PlansWithin(options, false,
                            [&](const ModelOptions& o) { return PlanShape(shape, 3, o); }),
                0);
    }
  }
}

TEST(PlanModelTest, TheDefaultCacheIsWhatTheMemoryOfARankLeaves) {
  ModelOptions options = Options("ultramem_v2");
  options.process.processes = 2;
  options.max_step_tokens = 64;
  const v1::Plan whole = PlanModel(options)->plan;
  const int64_t one = whole.limits().kv_blocks() / options.max_sequences;
  const v1::RankMemory& rank = whole.memory(0);
  const int64_t block = rank.kv_bytes() / whole.limits().kv_blocks();
  options.memory_per_rank_bytes = rank.weight_bytes() + rank.arena_bytes() + (one + 1) * block;
  const absl::StatusOr<PlannedModel> limited = PlanModel(options);
  ASSERT_TRUE(limited.ok()) << limited.status();
  EXPECT_EQ(limited->plan.limits().kv_blocks(), one + 1);
  EXPECT_EQ(Held(limited->plan, false), options.memory_per_rank_bytes);
  // Far less than the weights.
  options.memory_per_rank_bytes = 10'000;
  const absl::Status status = PlanModel(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(std::string(status.message())
                .find("there are 10000; with the KV cache of one sequence of 128 tokens: "
                      "max_model_len serves shorter ones"),
            std::string::npos)
      << status;
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
  const int64_t weights = whole->plan.memory(0).weight_bytes();
  const int64_t most = Held(whole->plan, false) - weights / 2;
  options.memory_per_rank_bytes = most;
  const absl::StatusOr<PlannedModel> split = PlanModel(options);
  ASSERT_TRUE(split.ok()) << split.status();
  EXPECT_LE(Held(split->plan, false), most);
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
