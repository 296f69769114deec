// `mneme plan --explain` of two golden models, as text, line by line. To accept a change that is
// meant, run the test with --update from the workspace root and read the difference.

#include "engine/plan_model.h"

#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>

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

}  // namespace
}  // namespace mneme

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  mneme::update = argc > 1 && std::string(argv[1]) == "--update";
  return RUN_ALL_TESTS();
}
