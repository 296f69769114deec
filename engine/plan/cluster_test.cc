#include "engine/plan/cluster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "engine/plan/cost_model.h"

namespace mneme::plan {
namespace {

using ::testing::HasSubstr;

std::string Refusal(const std::string& json) {
  return std::string(ParseCluster(json, "f").status().message());
}

// The JSON of 2xcpu with one text in place of another.
std::string Changed(const std::string& from, const std::string& to) {
  std::string json = ClusterJson(*NamedCluster("2xcpu"));
  const size_t at = json.find(from);
  EXPECT_NE(at, std::string::npos) << from << " is not in " << json;
  return json.replace(at, from.size(), to);
}

TEST(ClusterTest, NamesGiveGpusOnPaper) {
  const Cluster one = *NamedCluster("1xh100");
  EXPECT_EQ(one.ranks(), 1);
  EXPECT_EQ(one.device, "cuda");
  EXPECT_FALSE(one.shared_memory);
  EXPECT_EQ(one.memory[0].bytes, 80'000'000'000);
  EXPECT_EQ(one.memory[0].bytes_per_second, 3.35e12);
  const Cluster many = *NamedCluster("64xh100");
  ASSERT_EQ(many.axes.size(), 2u);
  EXPECT_EQ(many.axes[0].ranks, 8);
  EXPECT_EQ(many.axes[1].ranks, 8);
  EXPECT_GT(many.axes[1].link.bytes_per_second, 5 * many.axes[0].link.bytes_per_second);
  EXPECT_EQ(NamedCluster("8xb200")->axes.size(), 1u);
  EXPECT_LT(NamedCluster("8xa100")->arithmetic[0].bf16_flops,
            NamedCluster("8xh200")->arithmetic[0].bf16_flops);
  EXPECT_TRUE(NamedCluster("2xcpu")->shared_memory);
}

TEST(ClusterTest, NamesThatCannotBeAreRefused) {
  EXPECT_THAT(std::string(NamedCluster("12xh100").status().message()),
              HasSubstr("a multiple of 8 GPUs, '12xh100' has 12"));
  EXPECT_THAT(std::string(NamedCluster("72xh100").status().message()),
              HasSubstr("1 to 64 ranks, '72xh100' has 72"));
  EXPECT_TRUE(absl::IsInvalidArgument(NamedCluster("0xcpu").status()));
  for (const char* name : {"", "x", "h100", "8x", "8xh101", "8 xh100", "-1xcpux", "8xh100 "}) {
    EXPECT_TRUE(absl::IsNotFound(NamedCluster(name).status())) << name;
  }
}

TEST(ClusterTest, JsonSurvivesTheWayAndBack) {
  for (const char* name : {"2xcpu", "8xa100", "64xh100", "1xh200", "16xb200"}) {
    Cluster cluster = *NamedCluster(name);
    cluster.contended = {{2, 1.0 / 3, 1e-7, {{1, 1e9, 2e9}, {8, 3e9, 4e9}}}};
    const std::string json = ClusterJson(cluster);
    const absl::StatusOr<Cluster> parsed = ParseCluster(json, "f");
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(ClusterJson(*parsed), json);
    EXPECT_EQ(parsed->contended[0].bytes_per_second, 1.0 / 3);
    EXPECT_EQ(parsed->ranks(), cluster.ranks());
  }
}

TEST(ClusterTest, WhatIsWrongInAFileIsNamed) {
  EXPECT_EQ(Refusal("{"), "f: is not JSON");
  EXPECT_EQ(Refusal("[]"), "f: : must be an object");
  EXPECT_EQ(Refusal(Changed("\"device\": \"cpu\",", "")), "f: device: is missing");
  EXPECT_EQ(Refusal(Changed("\"device\": \"cpu\"", "\"device\": \"tpu\"")),
            "f: device is 'tpu', must be cpu or cuda");
  EXPECT_EQ(Refusal(Changed("\"ranks\": 2", "\"ranks\": 2, \"cores\": 1")),
            "f: axes[0].cores: is unknown");
  EXPECT_EQ(Refusal(Changed("\"ranks\": 2", "\"ranks\": 2, \"ranks\": 2")),
            "f: the key 'ranks' stands twice in one object");
  EXPECT_EQ(Refusal(Changed("\"ranks\": 2", "\"ranks\": 2.5")),
            "f: axes[0].ranks: must be an integer");
  EXPECT_EQ(Refusal(Changed("\"ranks\": 2", "\"ranks\": 65")),
            "f: axes[0].ranks: 65 is not in [1, 64]");
  EXPECT_EQ(Refusal(Changed("\"ranks\": 2", "\"ranks\": 18446744073709551615")),
            "f: axes[0].ranks: 18446744073709551615 is too large");
  EXPECT_EQ(Refusal(Changed("\"bytes\": 0", "\"bytes\": -1")),
            "f: memory[0].bytes: -1 is not in [0, 1152921504606846976]");
  EXPECT_EQ(Refusal(Changed("\"shared_memory\": true", "\"shared_memory\": 1")),
            "f: shared_memory: must be true or false");
  EXPECT_EQ(Refusal(Changed("\"rows\": 1", "\"rows\": 0")),
            "f: arithmetic[0].rows: 0 is not in [1, 1099511627776]");
  EXPECT_EQ(Refusal(Changed("25000000000.0", "0")),
            "f: axes[0].bytes_per_second: 0 is not in (0, 1e+21]");
  EXPECT_EQ(Refusal(Changed("25000000000.0", "\"fast\"")),
            "f: axes[0].bytes_per_second: must be a number");
  EXPECT_EQ(Refusal(Changed("\"memory\": [", "\"memory\": [], \"contended\": [")),
            "f: contended[0].ranks: is missing");
}

TEST(ClusterTest, TwoAxesHaveAtMostSoManyRanks) {
  Cluster cluster = *NamedCluster("64xh100");
  cluster.axes[0].ranks = 9;
  EXPECT_EQ(Refusal(ClusterJson(cluster)), "f: axes' ranks in all: 72 is not in [1, 64]");
}

TEST(ClusterTest, RanksSlowEachOtherDownAsMeasured) {
  Cluster cluster = *NamedCluster("1xcpu");
  cluster.memory[0].bytes_per_second = 10;
  cluster.contended = {{2, 8, 1e-6, {{1, 100, 100}}}, {4, 6, 2e-6, {{1, 90, 90}}}};
  const auto speed = [&](int32_t ranks) {
    cluster.axes[0].ranks = ranks;
    return SpeedOf(cluster);
  };
  EXPECT_EQ(speed(1).bytes_per_second, 10);
  EXPECT_EQ(speed(2).bytes_per_second, 8);
  EXPECT_EQ(speed(3).bytes_per_second, 8);
  EXPECT_EQ(speed(4).bytes_per_second, 6);
  // No core is left for more than were measured.
  EXPECT_EQ(speed(8).bytes_per_second, 3);
  EXPECT_EQ(speed(8).row_seconds, 4e-6);
  EXPECT_EQ(speed(8).arithmetic[0].f32_flops, 45);
}

TEST(ClusterTest, OneAxisHasAnyNumberOfRanks) {
  EXPECT_EQ(WithRanks(*NamedCluster("2xcpu"), 5)->ranks(), 5);
  EXPECT_EQ(WithRanks(*NamedCluster("16xh100"), 16)->ranks(), 16);
  EXPECT_THAT(std::string(WithRanks(*NamedCluster("16xh100"), 4).status().message()),
              HasSubstr("ranks is 4, the cluster 16xh100 has 16"));
}

TEST(ClusterTest, FilesAreRead) {
  const std::string path = ::testing::TempDir() + "/cluster.json";
  std::ofstream(path) << ClusterJson(*NamedCluster("4xa100"));
  EXPECT_EQ(LoadCluster(path)->name, "4xa100");
  EXPECT_THAT(std::string(LoadCluster("no/such").status().message()),
              HasSubstr("there is no cluster 'no/such'; there are Nxcpu"));
  std::ofstream(path) << std::string((1 << 20) + 1, ' ');
  EXPECT_THAT(std::string(LoadCluster(path).status().message()), HasSubstr("at most 1048576"));
}

TEST(CostModelTest, ArithmeticIsAStraightLineBetweenMeasuredRows) {
  CostModel cost;
  cost.arithmetic = {{1, 10, 1}, {5, 50, 1}, {9, 30, 1}};
  // Two operations a weight and row: 5 weights take a second for 1 row, also for 5 rows.
  EXPECT_DOUBLE_EQ(ArithmeticSeconds(cost, true, 1, 5), 1);
  EXPECT_DOUBLE_EQ(ArithmeticSeconds(cost, true, 5, 5), 1);
  EXPECT_DOUBLE_EQ(ArithmeticSeconds(cost, true, 3, 5), 1);
  EXPECT_DOUBLE_EQ(ArithmeticSeconds(cost, true, 9, 5), 3);
  EXPECT_DOUBLE_EQ(ArithmeticSeconds(cost, true, 7, 5), 2);
  EXPECT_DOUBLE_EQ(ArithmeticSeconds(cost, true, 18, 5), 6);
  EXPECT_DOUBLE_EQ(ArithmeticSeconds(cost, false, 2, 5), 20);
}

}  // namespace
}  // namespace mneme::plan
