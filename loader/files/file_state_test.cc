#include "loader/files/file_state.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

class FileStateTest : public testing::Test {
 protected:
  FileStateTest() : path_(testing::TempDir() + "/file") {
    Write(path_, "12345");
    SetTime(path_, 1769903999, 123456789);
    state_ = ReadFileState(path_).value();
  }
  static void Write(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
  }
  static void SetTime(const std::string& path, int64_t seconds, int64_t nanos) {
    const timespec times[2] = {{seconds, nanos}, {seconds, nanos}};
    ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  }
  std::string Change() const {
    return std::string(CheckSameState(state_, "since it was opened").message());
  }

  std::string path_;
  FileState state_;
};

TEST_F(FileStateTest, SaysSizeAndTime) {
  EXPECT_EQ(state_.path, path_);
  EXPECT_EQ(state_.bytes, 5);
  EXPECT_EQ(state_.modified(), "2026-01-31T23:59:59.123456789Z");
  EXPECT_TRUE(CheckSameState(state_, "").ok());
}

TEST_F(FileStateTest, ChangesAreNamedWithBothValues) {
  Write(path_, "1234567");
  EXPECT_EQ(Change(), path_ + ": has changed since it was opened: had 5 bytes, has 7");
  Write(path_, "54321");
  SetTime(path_, 1769903999, 123456788);
  EXPECT_EQ(Change(), path_ +
                          ": has changed since it was opened: was modified "
                          "2026-01-31T23:59:59.123456789Z, is 2026-01-31T23:59:59.123456788Z");
}

TEST_F(FileStateTest, AnotherFileOfTheSameSizeAndTimeIsNamed) {
  Write(path_ + "2", "54321");
  SetTime(path_ + "2", 1769903999, 123456789);
  fs::rename(path_ + "2", path_);
  EXPECT_THAT(Change(), AllOf(HasSubstr(": was file "),
                              EndsWith(":" + std::to_string(ReadFileState(path_)->inode))));
  state_.inode = 0;
  EXPECT_EQ(Change(), "");
}

TEST_F(FileStateTest, WhatIsGoneIsNotFound) {
  fs::remove(path_);
  const absl::Status gone = CheckSameState(state_, "");
  EXPECT_EQ(gone.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(gone.message()), StartsWith(path_ + ": cannot stat: "));
}

}  // namespace
}  // namespace mneme::loader
