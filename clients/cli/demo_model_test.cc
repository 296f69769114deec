#include "clients/cli/demo_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace mneme::cli {
namespace {

namespace fs = std::filesystem;

TEST(FindDemoTest, InTheRunfilesBesideAndAboveTheBinary) {
  const fs::path root = fs::path(::testing::TempDir()) / "demo_model_test";
  const fs::path in_runfiles = root / "bin/mneme.runfiles/mneme/models/demo/ultramem";
  fs::create_directories(in_runfiles);
  std::ofstream(in_runfiles / "config.yaml") << "model:\n";
  const std::string binary = (root / "bin/mneme").string();
  EXPECT_EQ(*FindDemo(kDemoModel, binary), in_runfiles.string());

  // Above: found where there are no runfiles.
  const fs::path above = root / "tree/models/demo/ultramem";
  fs::create_directories(above);
  std::ofstream(above / "config.yaml") << "model:\n";
  EXPECT_EQ(*FindDemo(kDemoModel, (root / "tree/build/x/mneme").string()), above.string());
}

TEST(FindDemoTest, ThisTestHasItInItsRunfiles) {
  const absl::StatusOr<std::string> found = FindDemo(kMoeDemoModel, "mneme");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_TRUE(fs::exists(fs::path(*found) / "model.safetensors"));
}

TEST(ResolveModelTest, NamesOfDemoModels) {
  const auto resolve = [](const std::string& model) {
    return fs::path(*ResolveModel(model, "mneme")).filename().string();
  };
  EXPECT_EQ(resolve(""), "ultramem");
  EXPECT_EQ(resolve("olmoe"), "olmoe");
  EXPECT_TRUE(fs::exists(fs::path(*ResolveModel("olmoe", "mneme")) / "config.json"));
  EXPECT_EQ(*ResolveModel("else/where", "mneme"), "else/where");
  EXPECT_EQ(*ResolveModel("another", "mneme"), "another");
}

}  // namespace
}  // namespace mneme::cli
