// `convert` and `inspect --verify` as a user calls them; tests/e2e kills and stops them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "clients/cli/command_line.h"
#include "clients/cli/verbs.h"
#include "nlohmann/json.hpp"

namespace mneme::cli {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

constexpr char kModel[] = "models/demo/ultramem";

struct Outcome {
  int exit_status;
  std::string out;
  std::string err;
};

Outcome Mneme(const std::vector<std::string>& arguments) {
  std::istringstream in;
  std::ostringstream out, err;
  const int exit_status = RunCommandLine(kVerbs, "mneme", arguments, in, out, err);
  return {exit_status, out.str(), err.str()};
}

TEST(ConvertTest, CommandLinesThatCannotBeAreRefused) {
  EXPECT_EQ(Mneme({"convert", kModel}).exit_status, kExitUsage);
  EXPECT_EQ(Mneme({"convert", "a", "b", "--dtype=f16"}).err,
            "mneme convert: --dtype: 'f16' is none of stored, bf16, f32\n");
  EXPECT_EQ(Mneme({"convert", "a", "b", "--shard-mb=3"}).err,
            "mneme convert: --shard-mb: 3 is not in [4, 4096]\n");
  EXPECT_EQ(Mneme({"convert", "a", "b", "--ignore-config-key", ""}).err,
            "mneme convert: --ignore-config-key: '' is no key\n");
  EXPECT_EQ(Mneme({"inspect", "--model", kModel, "--verify", kModel}).err,
            "mneme inspect: --model and --verify do not go together\n");
  const Outcome missing = Mneme({"convert", "/nowhere", "/nowhere/at/all"});
  EXPECT_EQ(missing.exit_status, kExitFailed);
  EXPECT_THAT(missing.err, HasSubstr("is inside the source folder /nowhere"));
}

TEST(ConvertTest, ConvertsAndChecksTheDemoModel) {
  const std::string out = ::testing::TempDir() + "/native";
  const Outcome first = Mneme({"convert", kModel, out, "--dtype=f32"});
  EXPECT_EQ(first.exit_status, 0) << first.err;
  EXPECT_THAT(first.out, HasSubstr(out + ": 1 shard, "));
  EXPECT_THAT(Mneme({"convert", kModel, out, "--dtype=f32"}).err,
              HasSubstr(out + ": was complete already"));
  std::filesystem::remove(out + "/config.yaml");
  EXPECT_THAT(Mneme({"convert", kModel, out, "--dtype=f32"}).err,
              HasSubstr(out + "/config.yaml: was missing or changed, and is copied again"));
  const Outcome other = Mneme({"convert", kModel, out});
  EXPECT_EQ(other.exit_status, kExitFailed);
  EXPECT_THAT(other.err, HasSubstr("holds another conversion: --dtype: f32 when it was converted, "
                                   "stored now"));
  const Outcome checked = Mneme({"inspect", "--verify", out, "--json"});
  EXPECT_EQ(checked.exit_status, 0) << checked.err;
  EXPECT_EQ(Json::parse(checked.out)["differences"], 0);
  const Outcome unconverted = Mneme({"inspect", "--verify", kModel});
  EXPECT_EQ(unconverted.exit_status, kExitFailed);
  EXPECT_THAT(unconverted.err, HasSubstr("`mneme convert` has not written this folder"));
}

}  // namespace
}  // namespace mneme::cli
