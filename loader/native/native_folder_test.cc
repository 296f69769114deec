#include "loader/native/native_folder.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "gtest/gtest.h"
#include "loader/native/manifest.h"

namespace mneme::loader {
namespace {

class NativeFolderTest : public testing::Test {
 protected:
  NativeFolderTest() : folder_(testing::TempDir() + "/folder") {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  bool With(const std::string& manifest) const {
    std::ofstream(folder_ + "/manifest.json", std::ios::binary) << manifest;
    return HasNativeManifest(folder_);
  }

  std::string folder_;
};

TEST_F(NativeFolderTest, OneWithoutAManifestIsNone) {
  EXPECT_FALSE(HasNativeManifest(folder_));
  EXPECT_FALSE(HasNativeManifest(folder_ + "/nowhere"));
}

TEST_F(NativeFolderTest, TheFormatDecides) {
  EXPECT_TRUE(With(Manifest().Print()));
  EXPECT_TRUE(With(R"({"version": 7, "format": "mneme"})"));
  EXPECT_FALSE(With(R"({"name": "a web page", "icons": []})"));
  EXPECT_FALSE(With(R"({"format": "mneme conversion"})"));
  EXPECT_FALSE(With(R"({"format": 1})"));
  EXPECT_FALSE(With("[]"));
}

TEST_F(NativeFolderTest, OneThatIsDamagedIsNotTakenForAnothers) {
  const std::string text = Manifest().Print();
  EXPECT_TRUE(With(text.substr(0, text.size() / 2)));
  EXPECT_TRUE(With(text.substr(0, 5)));
  EXPECT_TRUE(With(""));
  std::filesystem::remove(folder_ + "/manifest.json");
  std::filesystem::create_directory(folder_ + "/manifest.json");
  EXPECT_TRUE(HasNativeManifest(folder_));
}

}  // namespace
}  // namespace mneme::loader
