#include "loader/files/mapped_file.h"

#include <sys/stat.h>

#include <fstream>
#include <string>
#include <utility>

#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

std::string WriteFile(const std::string& name, const std::string& content) {
  const std::string path = testing::TempDir() + "/" + name;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

std::string Text(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TEST(MappedFileTest, MapsBytesThatStayWhenTheOwnerMoves) {
  auto file = MappedFile::Open(WriteFile("mapped", "some bytes"));
  ASSERT_TRUE(file.ok()) << file.status();
  const uint8_t* data = file->bytes().data();
  const MappedFile moved = *std::move(file);
  EXPECT_EQ(moved.bytes().data(), data);
  EXPECT_EQ(Text(moved), "some bytes");
}

TEST(MappedFileTest, DroppedPagesAreReadAgain) {
  const std::string content(3 * 4096 + 17, 'q');
  auto file = MappedFile::Open(WriteFile("dropped", content));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(Text(*file), content);
  file->DropPages(file->bytes());
  file->DropPages(file->bytes().subspan(4000, 5000));
  EXPECT_EQ(Text(*file), content);
}

TEST(MappedFileTest, PagesOfOthersAreLeftAlone) {
  auto file = MappedFile::Open(WriteFile("others", std::string(8192, 'q')));
  ASSERT_TRUE(file.ok()) << file.status();
  const std::string mine(3 * 4096, 'm');
  file->DropPages({reinterpret_cast<const uint8_t*>(mine.data()), mine.size()});
  EXPECT_EQ(mine, std::string(3 * 4096, 'm'));
}

TEST(MappedFileTest, AnEmptyFileHasNoBytes) {
  auto file = MappedFile::Open(WriteFile("empty", ""));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(file->bytes().empty());
}

TEST(MappedFileTest, ErrorsNameThePath) {
  const auto missing = MappedFile::Open("/nowhere/at/all");
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(missing.status().message().find("/nowhere/at/all"), std::string::npos);
  const auto folder = MappedFile::Open(testing::TempDir());
  EXPECT_EQ(folder.status().code(), absl::StatusCode::kInvalidArgument);
  const std::string pipe = testing::TempDir() + "/pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(MappedFile::Open(pipe).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ReadSmallFileTest, ReadsUpToItsLimit) {
  const std::string path = WriteFile("small", "12345");
  const auto text = ReadSmallFile(path, 5);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(*text, "12345");
  const auto large = ReadSmallFile(path, 4);
  EXPECT_EQ(large.status().message(), path + ": has 5 bytes; at most 4 are allowed");
}

}  // namespace
}  // namespace mneme::loader
