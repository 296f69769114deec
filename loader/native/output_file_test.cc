#include "loader/native/output_file.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

using testing::HasSubstr;

std::string Path(const std::string& name) { return testing::TempDir() + "/" + name; }

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

std::string Contents(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::vector<uint8_t> Bytes(const std::string& text) { return {text.begin(), text.end()}; }

TEST(OutputFileTest, HasItsNameOnlyWhenItIsCommitted) {
  const std::string path = Path("a");
  auto file = OutputFile::Create(path, 10);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(file->Write(2, Bytes("xyz")).ok());
  file->Suspend();
  EXPECT_TRUE(file->Write(8, Bytes("!")).ok());
  EXPECT_FALSE(Exists(path));
  EXPECT_TRUE(Exists(path + ".partial"));
  EXPECT_TRUE(file->Commit().ok());
  EXPECT_FALSE(Exists(path + ".partial"));
  EXPECT_EQ(Contents(path), std::string("\0\0xyz\0\0\0!\0", 10));
}

TEST(OutputFileTest, WhatIsNotCommittedIsRemoved) {
  const std::string path = Path("b");
  std::ofstream(path + ".partial") << "left by a run that was killed, and longer than the new one";
  {
    auto file = OutputFile::Create(path, 5);
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ(Contents(path + ".partial"), std::string(5, '\0'));
    const OutputFile moved = *std::move(file);
    EXPECT_TRUE(Exists(path + ".partial"));
  }
  EXPECT_FALSE(Exists(path));
  EXPECT_FALSE(Exists(path + ".partial"));
}

TEST(OutputFileTest, ReservesTheBlocks) {
  constexpr int64_t kBytes = int64_t{8} << 20;
  auto file = OutputFile::Create(Path("c"), kBytes);
  ASSERT_TRUE(file.ok()) << file.status();
  struct stat status;
  ASSERT_EQ(stat(Path("c.partial").c_str(), &status), 0);
  EXPECT_EQ(status.st_size, kBytes);
  EXPECT_GE(int64_t{status.st_blocks} * 512, kBytes);
}

TEST(OutputFileTest, WritesWholeFiles) {
  EXPECT_TRUE(WriteWholeFile(Path("d"), "first, longer").ok());
  EXPECT_TRUE(WriteWholeFile(Path("d"), "second").ok());
  EXPECT_EQ(Contents(Path("d")), "second");
  EXPECT_GT(FreeBytes(testing::TempDir()), 0);
  EXPECT_EQ(FreeBytes("/nowhere/at/all"), -1);
}

TEST(OutputFileTest, SaysThatAFileMayNotBeSoLarge) {
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{4096, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const auto reserved = OutputFile::Create(Path("e"), 8192);
  const absl::Status written = WriteWholeFile(Path("f"), std::string(5000, 'x'));
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old);
  const std::string why = " (for this process: ulimit -f; or for the file system)";
  EXPECT_EQ(reserved.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(reserved.status().message(),
            Path("e.partial") + ": cannot reserve 8192 bytes: File too large" + why);
  EXPECT_EQ(written.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(written.message(), Path("f.partial") + ": cannot write: File too large" + why);
  for (const char* name : {"e", "e.partial", "f", "f.partial"}) EXPECT_FALSE(Exists(Path(name)));
}

TEST(OutputFileTest, ErrorsNameTheFile) {
  const auto nowhere = OutputFile::Create("/nowhere/at/all", 1);
  EXPECT_THAT(std::string(nowhere.status().message()),
              HasSubstr("/nowhere/at/all.partial: cannot create: No such file"));
  EXPECT_THAT(std::string(SyncFolder("/nowhere/at").message()), HasSubstr("/nowhere/at"));
}

TEST(AppendedFileTest, GrowsByWhatIsAppended) {
  const std::string path = testing::TempDir() + "/grows";
  EXPECT_EQ(AppendedFile::Open(path + "/none").status().message(),
            path + "/none: cannot open: No such file or directory");
  ASSERT_TRUE(WriteWholeFile(path, "a\n").ok());
  {
    auto file = AppendedFile::Open(path);
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_TRUE(file->Append("bc\n").ok());
    AppendedFile moved = *std::move(file);
    EXPECT_TRUE(moved.Append("d\n").ok());
  }
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  EXPECT_EQ(text.str(), "a\nbc\nd\n");
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{8, before.rlim_max};
  auto file = AppendedFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const absl::Status limited = file->Append("efgh\n");
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old);
  EXPECT_EQ(limited.code(), absl::StatusCode::kFailedPrecondition) << limited;
}

}  // namespace
}  // namespace mneme::loader
