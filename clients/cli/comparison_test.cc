#include "clients/cli/comparison.h"

#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mneme::cli {
namespace {

using testing::HasSubstr;

ComparisonOptions Options() {
  ComparisonOptions options;
  options.directories = {"models/demo/ultramem", "models/demo/olmoe"};
  options.heldout_path = "models/demo/testdata/heldout.txt";
  options.seen_path = options.heldout_path;
  options.rounds = 1;
  // So many and so long that they meet in a step on however busy a machine.
  options.streams = {1, 16};
  options.prompt_tokens = 4;
  options.output_tokens = 64;
  return options;
}

TEST(ComparisonTest, BothModelsAreMeasured) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "40,000 tokens take many minutes";
#endif
  std::vector<std::string> lines;
  const auto models = Compare(Options(), [&](const std::string& line) { lines.push_back(line); });
  ASSERT_TRUE(models.ok()) << models.status();
  EXPECT_EQ(lines, (std::vector<std::string>{"ultramem: losses", "olmoe: losses", "warm-up",
                                             "round 1 of 1"}));
  ASSERT_EQ(models->size(), 2u);
  const ComparedModel& olmoe = (*models)[1];
  EXPECT_EQ((*models)[0].name, "ultramem");
  EXPECT_EQ(olmoe.name, "olmoe");
  EXPECT_EQ(olmoe.parameters, 12'089'600);
  EXPECT_LT(olmoe.active_parameters, olmoe.parameters);
  EXPECT_NEAR(olmoe.heldout_loss, 5.9576, 5e-4);
  EXPECT_EQ(olmoe.heldout_loss, olmoe.seen_loss);
  for (const ComparedModel& model : *models) {
    ASSERT_EQ(model.served.size(), 2u);
    for (const ServedRounds& rounds : model.served) {
      ASSERT_EQ(rounds.tokens_per_second.size(), 1u);
      EXPECT_GT(rounds.tokens_per_second[0], 0);
      EXPECT_GT(rounds.bytes_per_token[0], 1e6);
    }
    // Streams share what a step reads of the dense weights.
    EXPECT_LT(model.served[1].bytes_per_token[0], model.served[0].bytes_per_token[0]);
  }
}

TEST(ComparisonTest, ErrorsNameTheFile) {
  ComparisonOptions options = Options();
  options.seen_path = "models/demo/testdata/nowhere.txt";
  options.heldout_path = options.seen_path;
  const auto models = Compare(options, [](const std::string&) {});
  EXPECT_THAT(std::string(models.status().message()), HasSubstr("nowhere.txt"));
}

TEST(ComparisonTableTest, MedianLeastAndMost) {
  ComparisonOptions options = Options();
  options.streams = {1};
  options.rounds = 3;
  ComparedModel model;
  model.name = "m";
  model.architecture = "a";
  model.parameters = 12;
  model.active_parameters = 5;
  model.heldout_loss = 1.25;
  model.seen_loss = 0.5;
  model.served = {{.tokens_per_second = {30, 10, 20}, .bytes_per_token = {3e6, 1e6, 2e6}}};
  const std::string table = ComparisonTable(options, {model, model});
  std::vector<std::string> rows = absl::StrSplit(table, '\n');
  for (const char* row : {"parameters", "active for a token", "loss, held-out text",
                          "loss, seen text", "tokens/s, 1 stream", "bytes read/token, 1 stream"}) {
    EXPECT_THAT(table, HasSubstr(row));
  }
  EXPECT_THAT(table, HasSubstr("20 (10 - 30)"));
  EXPECT_THAT(table, HasSubstr("2.00 MB"));
  EXPECT_THAT(table, HasSubstr("1.2500"));
  EXPECT_EQ(rows[0].size(), rows[1].size());
}

}  // namespace
}  // namespace mneme::cli
