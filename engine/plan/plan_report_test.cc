// Plans of the published shapes, line by line. To accept a change that is meant, run the test with
// --update from the workspace root and read the difference.
#include "engine/plan/plan_report.h"

#include <gmock/gmock.h>

#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "engine/graph/memory_transformer.h"
#include "engine/graph/test_models.h"
#include "engine/plan/readable.h"
#include "gtest/gtest.h"
#include "loader/families/shapes.h"
#include "nlohmann/json.hpp"

namespace mneme::plan {
namespace {

using ::testing::HasSubstr;

bool update = false;

graph::Graph ShapeGraph(const std::string& shape) {
  return graph::BuildMemoryTransformer(*loader::DescribeShape(shape, 0), graph::Bf16Weights());
}

PlanReport Small(const std::string& cluster, bool runner_ups) {
  const graph::Graph graph =
      graph::BuildMemoryTransformer(graph::MemoryTestModel(3), graph::Bf16Weights());
  return *MakeReport(graph, *NamedCluster(cluster),
                     {.model_name = "a<b>", .runner_ups = runner_ups});
}

TEST(PlanReportTest, PlansOfPublishedShapes) {
  std::string text;
  for (const std::string& shape : loader::ShapeNames()) {
    const graph::Graph graph = ShapeGraph(shape);
    for (const int ranks : {1, 2, 4, 8, 64}) {
      const absl::StatusOr<PlanReport> report =
          MakeReport(graph, *NamedCluster(absl::StrCat(ranks, "xh100")),
                     {.model_name = shape, .runner_ups = false});
      absl::StrAppend(&text,
                      report.ok() ? ReportText(*report, true)
                                  : absl::StrCat(std::string(report.status().message()), "\n"),
                      "\n");
    }
  }
  const std::string path = "engine/plan/testdata/shapes.txt";
  if (update) {
    std::ofstream(path) << text;
    return;
  }
  std::ifstream golden(path);
  std::istringstream now(text);
  for (int line = 1, different = 0; (now || golden) && different < 10; ++line) {
    std::string mine, expected;
    std::getline(now, mine);
    std::getline(golden, expected);
    EXPECT_EQ(mine, expected) << path << ":" << line;
    different += mine != expected;
  }
}

TEST(PlanReportTest, WhatDoesNotFitIsRefused) {
  const absl::Status status =
      MakeReport(ShapeGraph("ultramem-2.5b-120b"), *NamedCluster("1xh100"), {.model_name = "m"})
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("m on 1xh100: no plan fits: a rank would hold at least 2"));
}

TEST(PlanReportTest, StepsAddUp) {
  const PlanReport report = Small("2xcpu", true);
  ASSERT_EQ(report.steps.size(), 4u);
  double seconds = 0;
  double exchanges = 0;
  for (const OperatorReport& o : report.operators) {
    seconds += o.seconds * static_cast<double>(o.times);
    if (!o.runner_up.empty()) {
      EXPECT_GE(o.runner_up_seconds, report.steps[0].seconds - 1e-12);
    }
  }
  for (const ExchangeReport& e : report.exchanges) {
    exchanges += e.seconds * static_cast<double>(e.times);
  }
  EXPECT_NEAR(report.steps[0].seconds, seconds + exchanges, 1e-12);
  EXPECT_NEAR(report.steps[0].exchange_seconds, exchanges, 1e-12);
  for (size_t i = 1; i < 4; ++i) EXPECT_GT(report.steps[i].seconds, report.steps[i - 1].seconds);
}

TEST(PlanReportTest, TextJsonAndPageTellTheSame) {
  const PlanReport report = Small("16xh100", true);
  const nlohmann::json json = nlohmann::json::parse(ReportJson(report));
  EXPECT_EQ(json["steps"].size(), 4u);
  EXPECT_EQ(json["operators"].size(), report.operators.size());
  EXPECT_EQ(json["cluster"]["axes"].size(), 2u);
  const std::string text = ReportText(report, true);
  const std::string page = ReportHtml(report);
  EXPECT_THAT(text, HasSubstr("a<b> (ultramem_v2) on 16xh100: nodes 2 x devices 8, device cuda"));
  EXPECT_THAT(page, HasSubstr("<h1>a&lt;b&gt; (ultramem_v2) on 16xh100</h1>"));
  EXPECT_EQ(page.find("http"), std::string::npos);
  for (const OperatorReport& o : report.operators) {
    EXPECT_THAT(text, HasSubstr(o.name));
    EXPECT_THAT(page, HasSubstr(o.name));
  }
}

TEST(PlanReportTest, LargerStepsSayWhatTheyDivideOtherwise) {
  using LargeSteps = LayoutPins::LargeSteps;
  ReportOptions options = {.model_name = "m"};
  const graph::Graph graph = ShapeGraph("ultramem-1b-7b");
  options.pins.large_steps = LargeSteps::kSame;
  const PlanReport same = *MakeReport(graph, *NamedCluster("2xcpu"), options);
  for (const StepReport& s : same.steps) {
    EXPECT_TRUE(s.otherwise.empty()) << s.name;
  }
  options.pins.large_steps = LargeSteps::kRows;
  const PlanReport rows = *MakeReport(graph, *NamedCluster("2xcpu"), options);
  EXPECT_TRUE(rows.steps[0].otherwise.empty());
  const std::vector<OtherLayout>& prefill = rows.steps[3].otherwise;
  ASSERT_FALSE(prefill.empty());
  const nlohmann::json json = nlohmann::json::parse(ReportJson(rows));
  ASSERT_EQ(json["steps"][3]["otherwise"].size(), prefill.size());
  EXPECT_EQ(json["steps"][3]["otherwise"][0]["layout"], prefill[0].layout);
  EXPECT_THAT(prefill[0].layout, HasSubstr("S(0)"));
  EXPECT_THAT(ReportHtml(rows), HasSubstr("Divided otherwise in a prefill of 512"));
  EXPECT_THAT(ReportText(rows, true),
              HasSubstr("operators that are divided otherwise in a prefill of 512\n"));
}

TEST(ReadableTest, ThreeDigitsAndAUnit) {
  EXPECT_EQ(ReadableBytes(0), "0 B");
  EXPECT_EQ(ReadableBytes(999), "999 B");
  EXPECT_EQ(ReadableBytes(999.6), "1 kB");
  EXPECT_EQ(ReadableBytes(12'345'678), "12.3 MB");
  EXPECT_EQ(ReadableSeconds(0), "0 us");
  EXPECT_EQ(ReadableSeconds(1.234e-3), "1.23 ms");
  EXPECT_EQ(ReadableSeconds(4.5e-6), "4.5 us");
  EXPECT_EQ(ReadableSeconds(6e-9), "6 ns");
  EXPECT_EQ(ReadableSeconds(0.9996), "1 s");
}

}  // namespace
}  // namespace mneme::plan

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  mneme::plan::update = argc > 1 && std::string(argv[1]) == "--update";
  return RUN_ALL_TESTS();
}
