// `mneme bench`, as a user calls it.
#include <filesystem>
#include <fstream>
#include <string>

#include "clients/cli/called_mneme.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mneme::cli {
namespace {

using ::testing::HasSubstr;

constexpr char kModel[] = "models/demo/ultramem";

TEST(BenchTest, MakesItsModelInAFolderOfItsOwn) {
  const std::string folder = ::testing::TempDir() + "/somebody's";
  std::filesystem::create_directories(folder);
  std::ofstream(folder + "/letter.txt") << "text";
  EXPECT_THAT(Mneme({"bench", "startup", "--made-up", folder}).err,
              HasSubstr("somebody's holds letter.txt: name an empty folder or a new one"));
  EXPECT_FALSE(std::filesystem::exists(folder + "/source"));
}

TEST(BenchTest, TimesTheStepsOfAModel) {
  const Outcome outcome = Mneme({"bench", "model", "--model", kModel, "--ranks=2", "--batch=3",
                                 "--prefill=20", "--steps=3", "--context=40"});
  EXPECT_EQ(outcome.exit_status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("2 ranks, context 40, 3 steps each"));
  EXPECT_THAT(outcome.out, HasSubstr("decode      3 x 1"));
  EXPECT_THAT(outcome.out, HasSubstr("prefill     1 x 20"));
  EXPECT_THAT(outcome.out, HasSubstr("ALL_REDUCE"));
  const std::string native = ::testing::TempDir() + "/native";
  ASSERT_EQ(Mneme({"convert", kModel, native}).exit_status, 0);
  const Outcome pages = Mneme({"bench", "pages", "--model", native, "--ranks=2", "--batch=1",
                               "--prefill=0", "--steps=9", "--context=16"});
  EXPECT_EQ(pages.exit_status, 0) << pages.err;
  EXPECT_THAT(pages.out, HasSubstr(" GB of copies beside 0.02 GB of files, 2 ranks"));
  EXPECT_THAT(pages.out, HasSubstr("decode      1 x 1    mapped "));
  EXPECT_EQ(Mneme({"bench"}).err,
            "mneme bench: INVALID_ARGUMENT: what to measure: model, pages or startup\n");
  EXPECT_THAT(Mneme({"bench", "model", "--model", kModel, "--batch=65", "--steps=1"}).err,
              HasSubstr("a batch of 65 sequences is more than the plan's 64"));
  EXPECT_THAT(Mneme({"bench", "model", "--model", kModel, "--kv-cache-mb=4", "--steps=1"}).err,
              HasSubstr("8 sequences of 129 tokens need 72 KV blocks, the plan has 21"));
  EXPECT_THAT(Mneme({"bench", "model", "--shape=ultramem-1b-7b", "--weights=f32"}).err,
              HasSubstr("--weights: a shape's are bf16"));
  EXPECT_THAT(Mneme({"bench", "model", "--model", kModel, "--context=1024", "--steps=1"}).err,
              HasSubstr("a context of 1024 and a prefill of 64 must fit 1024 positions"));
}

TEST(BenchTest, TimesTheRuntimeAlone) {
  const Outcome outcome = Mneme({"bench", "model", "--model", kModel, "--ranks=2", "--batch=3",
                                 "--prefill=20", "--steps=3", "--empty-operators"});
  EXPECT_EQ(outcome.exit_status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("decode      3 x 1"));
  EXPECT_THAT(outcome.out, HasSubstr("prefill     1 x 20"));
  EXPECT_THAT(outcome.out, HasSubstr("without operators"));
  EXPECT_EQ(Mneme({"bench", "model", "--model", kModel, "--batch=65", "--empty-operators"}).err,
            "mneme bench: INVALID_ARGUMENT: a batch of 65 sequences is more than the plan's 64\n");
}

// A flag that would change nothing is a mistake, not a wish.
TEST(BenchTest, FlagsOfAnotherMeasurementAreRefused) {
  EXPECT_THAT(Mneme({"bench", "startup", "--shape=olmoe-1b-7b"}).err,
              HasSubstr("--shape is not for startup"));
  EXPECT_THAT(Mneme({"bench", "model", "--runs=3"}).err, HasSubstr("--runs is not for model"));
  EXPECT_THAT(Mneme({"bench", "pages", "--model", kModel}).err,
              HasSubstr("models/demo/ultramem is not converted"));
}

}  // namespace
}  // namespace mneme::cli
