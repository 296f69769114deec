#include "engine/schedule/traffic_share.h"

#include <vector>

#include "gtest/gtest.h"

namespace mneme::schedule {
namespace {

using kernels::TrafficClass;

constexpr int kDense = static_cast<int>(TrafficClass::kDenseWeights);
constexpr int kValueRows = static_cast<int>(TrafficClass::kValueRows);
constexpr int kExperts = static_cast<int>(TrafficClass::kExpertWeights);
constexpr int kKv = static_cast<int>(TrafficClass::kKv);

TEST(TrafficShareTest, DividesByTokensByLogitRowsAndByWhatEachTokenRead) {
  runtime::StepResult result;
  result.logit_traffic.Read(TrafficClass::kDenseWeights, 1000);
  result.logit_traffic.Write(TrafficClass::kActivations, 60);
  result.traffic = result.logit_traffic;
  result.traffic.Read(TrafficClass::kDenseWeights, 400);
  result.traffic.Read(TrafficClass::kValueRows, 70);
  result.traffic.Read(TrafficClass::kExpertWeights, 80);
  result.traffic.Read(TrafficClass::kKv, 100);
  result.traffic.Write(TrafficClass::kKv, 40);
  const std::vector<double> value_rows = {10, 20, 30, 10};
  const std::vector<double> experts = {50, 0, 10, 20};
  const std::vector<double> kv = {10, 20, 30, 40};
  result.token_value_row_bytes = value_rows;
  result.token_expert_bytes = experts;
  result.token_kv_bytes = kv;

  const TrafficShare share(result, 4, 2);
  RequestUsage a;
  RequestUsage b;
  share.Add(0, 1, 1, &a);
  share.Add(1, 3, 1, &b);
  EXPECT_EQ(a.read_bytes[kDense], 100 + 500);
  EXPECT_EQ(b.read_bytes[kDense], 300 + 500);
  EXPECT_EQ(a.read_bytes[kValueRows], 10);
  EXPECT_EQ(b.read_bytes[kValueRows], 60);
  EXPECT_EQ(a.read_bytes[kExperts], 50);
  EXPECT_EQ(b.read_bytes[kExperts], 30);
  EXPECT_EQ(a.read_bytes[kKv], 10);
  EXPECT_EQ(b.read_bytes[kKv], 90);
  EXPECT_EQ(a.written_bytes[kKv], 10);
  for (int c = 0; c < kernels::kTrafficClasses; ++c) {
    EXPECT_EQ(a.read_bytes[c] + b.read_bytes[c], result.traffic.read_bytes[c]);
    EXPECT_EQ(a.written_bytes[c] + b.written_bytes[c], result.traffic.written_bytes[c]);
  }
}

TEST(TrafficShareTest, AStepWithoutLogitRowsOrTokenBytesStillSums) {
  runtime::StepResult result;
  result.traffic.Read(TrafficClass::kValueRows, 30);
  result.traffic.Read(TrafficClass::kKv, 60);
  const TrafficShare share(result, 3, 0);
  RequestUsage a;
  RequestUsage b;
  share.Add(0, 2, 0, &a);
  share.Add(2, 1, 0, &b);
  EXPECT_EQ(a.read_bytes[kValueRows], 20);
  EXPECT_EQ(b.read_bytes[kKv], 20);
}

}  // namespace
}  // namespace mneme::schedule
