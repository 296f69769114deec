// What CheckUnfinished makes of folders that no conversion wrote; of those one did, see
// native_checkpoint_test.cc.
#include <dirent.h>
#include <dlfcn.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>

#include "gtest/gtest.h"
#include "loader/native/native_checkpoint.h"

// Entries that the system reads of a folder before it fails; -1: it does not fail.
static int entries_until_failure = -1;

// In place of the system's, which the C++ library calls.
extern "C" dirent* readdir(DIR* folder) {
  using Function = dirent* (*)(DIR*);
  static const auto system = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "readdir"));
  if (entries_until_failure == 0) {
    errno = EIO;
    return nullptr;
  }
  if (entries_until_failure > 0) --entries_until_failure;
  return system(folder);
}

namespace mneme::loader {
namespace {

namespace fs = std::filesystem;

// A folder of its own, empty.
std::string Folder(const std::string& name) {
  const std::string path = testing::TempDir() + "/" + name;
  fs::remove_all(path);
  fs::create_directories(path);
  return path;
}

TEST(CheckUnfinishedTest, AFolderWithShardsOfOthersIsNoConversion) {
  const std::string folder = Folder("others");
  const std::string shard = folder + "/model-00001-of-00002.safetensors";
  fs::copy_file("tests/golden/dense/model.safetensors", shard);
  EXPECT_TRUE(CheckUnfinished(folder).ok());
  std::ofstream(shard, std::ios::trunc) << "no safetensors file";
  EXPECT_TRUE(CheckUnfinished(folder).ok());
  EXPECT_TRUE(CheckUnfinished("/nowhere").ok());
}

TEST(CheckUnfinishedTest, AFolderThatCannotBeReadToItsEndIsLeftToWhoeverNeedsIt) {
  const std::string folder = Folder("unreadable");
  std::ofstream(folder + "/a") << "a";
  entries_until_failure = 3;  // "a" and both folders
  const absl::Status status = CheckUnfinished(folder);
  EXPECT_EQ(entries_until_failure, 0);
  entries_until_failure = -1;
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace
}  // namespace mneme::loader
