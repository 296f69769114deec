#include "clients/cli/verify_run.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "gtest/gtest.h"
#include "loader/checkpoint/checkpoint.h"
#include "loader/native/convert.h"
#include "nlohmann/json.hpp"

namespace mneme::cli {
namespace {

using Json = nlohmann::json;

struct Outcome {
  int status = 0;
  Json out;  // null where it is no JSON
  std::string err;
};

Outcome Verify(const std::string& directory) {
  std::istringstream in;
  std::ostringstream out;
  std::ostringstream err;
  const Invocation invocation{
      .arguments = {}, .executable = "mneme", .in = in, .out = out, .err = err};
  Outcome outcome;
  outcome.status = RunVerify(invocation, directory, /*json=*/true);
  outcome.out = Json::parse(out.str(), nullptr, /*allow_exceptions=*/false);
  if (outcome.out.is_discarded()) outcome.out = nullptr;
  outcome.err = err.str();
  return outcome;
}

class VerifyRunTest : public testing::Test {
 protected:
  VerifyRunTest() : folder_(testing::TempDir() + "/native") {
    std::filesystem::remove_all(folder_);
    const auto checkpoint = loader::InspectCheckpoint("tests/golden/dense");
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    EXPECT_TRUE(loader::ConvertCheckpoint(*checkpoint, folder_, {}, {}).ok());
  }

  const std::string folder_;
};

TEST_F(VerifyRunTest, AWholeFolderIsNotRefused) {
  const Outcome outcome = Verify(folder_);
  EXPECT_EQ(outcome.status, 0);
  ASSERT_TRUE(outcome.out.is_object());
  EXPECT_EQ(outcome.out.at("differences"), 0);
  EXPECT_TRUE(outcome.out.at("refused").is_null());
}

TEST_F(VerifyRunTest, ADifferenceIsNoRefusal) {
  std::ofstream(folder_ + "/config.yaml", std::ios::app) << "#";
  const Outcome outcome = Verify(folder_);
  EXPECT_EQ(outcome.status, kExitFailed);
  ASSERT_TRUE(outcome.out.is_object());
  EXPECT_EQ(outcome.out.at("differences"), 1);
  EXPECT_TRUE(outcome.out.at("refused").is_null());
}

// Whoever reads the output must find JSON there.
TEST_F(VerifyRunTest, AFolderThatCannotBeCheckedIsRefusedInJson) {
  std::filesystem::remove(folder_ + "/manifest.json");
  const Outcome outcome = Verify(folder_);
  EXPECT_EQ(outcome.status, kExitFailed);
  ASSERT_TRUE(outcome.out.is_object());
  EXPECT_EQ(outcome.out.at("name"), folder_);
  EXPECT_EQ(outcome.out.at("code"), "FAILED_PRECONDITION");
  EXPECT_EQ(outcome.out.at("refused"),
            folder_ +
                ": has the shard model-00001-of-00001.safetensors, but no manifest.json: nothing "
                "says what its shards hold; remove the folder and convert anew");
  EXPECT_NE(outcome.err.find("but no manifest.json"), std::string::npos);
}

}  // namespace
}  // namespace mneme::cli
