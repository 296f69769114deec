#include "clients/cli/checkpoint_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "loader/native/convert.h"

namespace mneme::cli {
namespace {

TEST(CheckpointReportTest, CountsTheDemoModelAsItsReadmeDoes) {
  const absl::StatusOr<loader::Checkpoint> checkpoint =
      loader::InspectCheckpoint("models/demo/ultramem");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const CheckpointReport report = ReportOn(*checkpoint);
  EXPECT_EQ(report.parameters, 10'730'288);
  EXPECT_EQ(report.classes.at("embedding").elements, 4096 * 256);
  EXPECT_EQ(report.classes.at("value_rows").elements, 24576 * (128 + 64));
  EXPECT_EQ(report.classes.count("unused"), 0u);
  EXPECT_EQ(report.dtypes.at("I64").elements, 290'400);
  EXPECT_EQ(report.dtypes.at("BF16").bytes, 2 * 10'730'312);
  int64_t tensors = 0;
  for (const auto& [name, count] : report.classes) tensors += count.tensors;
  EXPECT_EQ(tensors, report.total.tensors);
}

TEST(CheckpointReportTest, ActiveParametersOfAMemoryModel) {
  const absl::StatusOr<loader::Checkpoint> checkpoint =
      loader::InspectCheckpoint("models/demo/ultramem");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const CheckpointReport report = ReportOn(*checkpoint);
  // Six layers with 16 selections each, and a tied head.
  EXPECT_EQ(report.active_parameters, report.parameters - 24576 * 192 + 6 * 16 * 192);
}

TEST(CheckpointReportTest, ActiveParametersOfAMixtureOfExperts) {
  const absl::StatusOr<loader::Checkpoint> checkpoint =
      loader::InspectCheckpoint("models/demo/olmoe");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const CheckpointReport report = ReportOn(*checkpoint);
  EXPECT_EQ(report.parameters, 12'089'600);
  EXPECT_EQ(report.classes.at("experts").elements, 6 * 16 * 3 * 256 * 128);
  // 4 of 16 experts.
  EXPECT_EQ(report.active_parameters, report.parameters - 6 * 12 * 3 * 256 * 128);
}

// Whoever hands one in that no family would: its tensors are counted, all of them as read.
TEST(CheckpointReportTest, ExpertsOfAModelThatHasNoneAreCounted) {
  absl::StatusOr<loader::Checkpoint> checkpoint = loader::InspectCheckpoint("models/demo/olmoe");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  checkpoint->model.moe.reset();
  const CheckpointReport report = ReportOn(*checkpoint);
  EXPECT_EQ(report.classes.at("experts").elements, 6 * 16 * 3 * 256 * 128);
  EXPECT_EQ(report.active_parameters, report.parameters);
}

TEST(CheckpointReportTest, AnEmbeddingThatIsNoHeadIsReadOneRowAtATime) {
  const absl::StatusOr<loader::Checkpoint> checkpoint =
      loader::InspectCheckpoint("tests/golden/mixtral_llama3rope");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const CheckpointReport report = ReportOn(*checkpoint);
  EXPECT_EQ(report.classes.at("embedding").elements, 2 * 350 * 48);
  EXPECT_EQ(report.active_parameters, report.parameters - 349 * 48 - 3 * 5 * 3 * 48 * 24);
}

// What a conversion computed beforehand is no parameter.
TEST(CheckpointReportTest, AConvertedModelHasAsManyParameters) {
  for (const char* model : {"models/demo/ultramem", "models/demo/olmoe"}) {
    const absl::StatusOr<loader::Checkpoint> checkpoint = loader::InspectCheckpoint(model);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    const std::string folder = ::testing::TempDir() + "/" + NameOf(model);
    ASSERT_TRUE(loader::ConvertCheckpoint(*checkpoint, folder, {}, {}).ok());
    const absl::StatusOr<loader::Checkpoint> converted = loader::InspectCheckpoint(folder);
    ASSERT_TRUE(converted.ok()) << converted.status();
    EXPECT_EQ(ReportOn(*converted).parameters, ReportOn(*checkpoint).parameters);
    EXPECT_EQ(ReportOn(*converted).active_parameters, ReportOn(*checkpoint).active_parameters);
  }
}

TEST(NameOfTest, IsTheLastPart) {
  EXPECT_EQ(NameOf("a/b"), "b");
  EXPECT_EQ(NameOf("a/b/"), "b");
  EXPECT_EQ(NameOf("/a/b/."), "b");
  EXPECT_EQ(NameOf("b"), "b");
}

}  // namespace
}  // namespace mneme::cli
