#include "clients/cli/plan_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

namespace mneme::cli {
namespace {

using ::testing::HasSubstr;

TEST(PlanCheckTest, RatiosOutsideOfTheToleranceAreTold) {
  std::ostringstream out;
  EXPECT_TRUE(PrintCheck(
      {{"decode of 1", 1, 0.8e-3, 1e-3, 0.8}, {"decode of 8", 2, 1.3e-3, 1e-3, 1.3}}, 0.25, out));
  EXPECT_THAT(
      out.str(),
      HasSubstr("decode of 1      1 rank  predicted 800 us    measured 1 ms      ratio 0.80\n"));
  EXPECT_THAT(out.str(), HasSubstr("2 ranks predicted 1.3 ms"));
  EXPECT_THAT(out.str(), HasSubstr("passed: predictions are within 25 % of what is measured\n"));
  EXPECT_EQ(out.str().find("not within"), std::string::npos);
  EXPECT_FALSE(PrintCheck({{"a", 1, 1, 1, 0.74}}, 0.25, out));
  EXPECT_FALSE(PrintCheck({{"a", 1, 1, 1, 1.34}}, 0.25, out));
  EXPECT_THAT(out.str(), HasSubstr("ratio 1.34  not within the tolerance\n"));
  EXPECT_THAT(out.str(), HasSubstr("failed: predictions are not within 25 %"));
}

TEST(PlanCheckTest, AShapeThatIsNoneIsRefused) {
  const auto guess = [] { return plan::NamedCluster("1xcpu"); };
  EXPECT_EQ(CheckPlan({.shape = "x"}, guess, {}).status().code(), absl::StatusCode::kNotFound);
  const auto none = [] { return absl::StatusOr<plan::Cluster>(absl::AbortedError("no")); };
  EXPECT_EQ(CheckPlan({.shape = "ultramem-1b-7b"}, none, {}).status().code(),
            absl::StatusCode::kAborted);
}

}  // namespace
}  // namespace mneme::cli
