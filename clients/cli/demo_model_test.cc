#include "clients/cli/demo_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace mneme::cli {
namespace {

namespace fs = std::filesystem;

TEST(FindDemoModelTest, InTheRunfilesBesideAndAboveTheBinary) {
  const fs::path root = fs::path(::testing::TempDir()) / "demo_model_test";
  const fs::path in_runfiles = root / "bin/mneme.runfiles/mneme/models/demo/ultramem";
  fs::create_directories(in_runfiles);
  std::ofstream(in_runfiles / "config.yaml") << "model:\n";
  const std::string binary = (root / "bin/mneme").string();
  EXPECT_EQ(*FindDemoModel(binary), in_runfiles.string());

  // Above: found where there are no runfiles.
  const fs::path above = root / "tree/models/demo/ultramem";
  fs::create_directories(above);
  std::ofstream(above / "config.yaml") << "model:\n";
  EXPECT_EQ(*FindDemoModel((root / "tree/build/x/mneme").string()), above.string());
}

TEST(FindDemoModelTest, ThisTestHasItInItsRunfiles) {
  const absl::StatusOr<std::string> found = FindDemoModel("mneme");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_TRUE(fs::exists(fs::path(*found) / "model.safetensors"));
}

}  // namespace
}  // namespace mneme::cli
