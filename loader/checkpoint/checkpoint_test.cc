// Folders that are no checkpoint, or two.
#include "loader/checkpoint/checkpoint.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// An empty folder of this name.
fs::path Folder(const std::string& name) {
  const fs::path folder = fs::path(testing::TempDir()) / name;
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

void Copy(const std::string& golden, const std::string& file, const fs::path& folder) {
  fs::copy_file(fs::path("tests/golden") / golden / file, folder / file);
}

std::string Error(const fs::path& folder, absl::StatusCode code) {
  const auto checkpoint = InspectCheckpoint(folder.string());
  EXPECT_EQ(checkpoint.status().code(), code);
  return std::string(checkpoint.status().message());
}

TEST(CheckpointTest, SaysWhatIsMissing) {
  EXPECT_THAT(Error("/nowhere/at/all", absl::StatusCode::kNotFound),
              HasSubstr("/nowhere/at/all: no such folder"));
  const fs::path folder = Folder("incomplete");
  EXPECT_THAT(Error(folder, absl::StatusCode::kNotFound), HasSubstr(": has no config.yaml"));
  Copy("dense", "config.yaml", folder);
  EXPECT_THAT(Error(folder, absl::StatusCode::kNotFound),
              HasSubstr(": has neither model.safetensors nor model.pt"));
}

TEST(CheckpointTest, SafetensorsWinsOverThePickle) {
  const fs::path folder = Folder("both");
  Copy("dense", "config.yaml", folder);
  Copy("dense", "model.safetensors", folder);
  std::ofstream(folder / "model.pt") << "not read";
  EXPECT_TRUE(InspectCheckpoint(folder.string()).ok());
}

TEST(CheckpointTest, ASingleFileWinsOverAnIndex) {
  const fs::path folder = Folder("single_and_index");
  Copy("olmoe", "config.json", folder);
  std::ofstream(folder / "model.safetensors.index.json") << "not read";
  EXPECT_THAT(Error(folder, absl::StatusCode::kInvalidArgument), HasSubstr("index.json"));
  Copy("olmoe", "model.safetensors", folder);
  EXPECT_TRUE(InspectCheckpoint(folder.string()).ok());
}

TEST(CheckpointTest, TheConfigIsReadFirst) {
  const fs::path folder = Folder("wrong_config");
  std::ofstream(folder / "config.yaml") << "model: {rope: true, d_modle: 64}\n";
  EXPECT_THAT(Error(folder, absl::StatusCode::kInvalidArgument),
              HasSubstr("config.yaml: model.d_modle (line 1): unknown key"));
}

TEST(CheckpointTest, ATruncatedFileIsRefused) {
  const fs::path folder = Folder("truncated");
  Copy("dense", "config.yaml", folder);
  Copy("dense", "model.safetensors", folder);
  fs::permissions(folder / "model.safetensors", fs::perms::owner_all);
  fs::resize_file(folder / "model.safetensors", 200'000);
  EXPECT_THAT(Error(folder, absl::StatusCode::kInvalidArgument),
              HasSubstr("are beyond the data, which has "));
}

TEST(CheckpointTest, ConfigAndTensorsMustFit) {
  const fs::path folder = Folder("mixed");
  Copy("ultramem_v2", "config.yaml", folder);
  Copy("dense", "model.safetensors", folder);
  EXPECT_THAT(Error(folder, absl::StatusCode::kInvalidArgument), HasSubstr("is missing"));
  const fs::path other = Folder("mixed_other");
  Copy("dense", "config.yaml", other);
  Copy("ultramem_v2", "model.safetensors", other);
  EXPECT_THAT(Error(other, absl::StatusCode::kInvalidArgument),
              HasSubstr("tensors that this model does not have: "));
}

TEST(CheckpointTest, AHugeConfigIsNotRead) {
  const fs::path folder = Folder("huge_config");
  std::ofstream(folder / "config.yaml") << std::string(5 << 20, '#');
  EXPECT_THAT(Error(folder, absl::StatusCode::kInvalidArgument),
              HasSubstr("config.yaml: has 5242880 bytes; at most 4194304 are allowed"));
}

}  // namespace
}  // namespace mneme::loader
