#include "loader/files/mapped_file.h"

#include <sys/stat.h>
#include <unistd.h>

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

TEST(MappedFileTest, TheAddressIsAMultipleOfAHugePage) {
  const std::string content((2 << 20) + 17, 'q');
  auto file = MappedFile::Open(WriteFile("large", content));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file->bytes().data()) % (2 << 20), 0u);
  file->ReadInHugePages();
  EXPECT_EQ(Text(*file), content);
  MappedFile().ReadInHugePages();
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

TEST(OpenFileTest, ALinkIsRefusedWhereItsFileIsMeant) {
  const std::string path = WriteFile("real", "text");
  const std::string link = testing::TempDir() + "/link";
  ASSERT_EQ(symlink(path.c_str(), link.c_str()), 0);
  EXPECT_TRUE(OpenFile::Open(link).ok());
  EXPECT_TRUE(OpenFile::Open(path, OpenFile::Link::kRefuse).ok());
  EXPECT_EQ(OpenFile::Open(link, OpenFile::Link::kRefuse).status().message(),
            link + ": cannot open: Too many levels of symbolic links");
}

class MappedRangeTest : public testing::Test {
 protected:
  static constexpr int64_t kPage = 4096;
  // `pages` pages of the letters from `first` on.
  static OpenFile File(const std::string& name, char first, int pages) {
    std::string content;
    for (int i = 0; i < pages; ++i) content += std::string(kPage, static_cast<char>(first + i));
    return OpenFile::Open(WriteFile(name, content)).value();
  }
  // The first letter of each page.
  static std::string Pages(const MappedRange& range) {
    std::string letters;
    for (size_t i = 0; i < range.bytes().size(); i += kPage) {
      letters += static_cast<char>(range.bytes()[i]);
    }
    return letters;
  }
};

TEST_F(MappedRangeTest, PiecesOfSeveralFilesLieOneBehindTheOther) {
  MappedRange range;
  {
    const OpenFile first = File("range1", 'a', 5);
    const OpenFile second = File("range2", 'p', 4);
    auto mapped = MappedRange::Map({{&second, kPage, 2 * kPage},
                                    {&first, 0, 0},
                                    {&first, 3 * kPage, 2 * kPage},
                                    {&second, 0, 100}});
    ASSERT_TRUE(mapped.ok()) << mapped.status();
    range = *std::move(mapped);
  }
  EXPECT_EQ(Pages(range), "qrdep");
  EXPECT_EQ(range.bytes().size(), 4u * kPage + 100);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(range.bytes().data()) % (2 << 20), 0u);
  range.DropPages(range.bytes().subspan(kPage / 2, 3 * kPage));
  EXPECT_EQ(Pages(range), "qrdep");
  const MappedRange moved = std::move(range);
  EXPECT_EQ(Pages(moved), "qrdep");
  EXPECT_TRUE(MappedRange::Map({}).value().bytes().empty());
}

TEST_F(MappedRangeTest, RefusesPiecesThatDoNotFitTheirFileOrThePages) {
  const OpenFile file = File("fit", 'a', 3);
  const std::string path = file.path();
  const auto refusal = [](const std::vector<MappedRange::Piece>& pieces) {
    const auto range = MappedRange::Map(pieces);
    EXPECT_EQ(range.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(range.status().message());
  };
  EXPECT_EQ(refusal({{&file, kPage, 2 * kPage + 1}}),
            path + ": 8193 bytes at 4096 reach beyond the file, which has 12288");
  EXPECT_EQ(refusal({{&file, 100, kPage}}),
            path +
                ": 4096 bytes at 100 do not begin and end at multiples of a page, which has "
                "4096 bytes");
  EXPECT_EQ(refusal({{&file, 0, 100}, {&file, kPage, kPage}}),
            path +
                ": 100 bytes at 0 do not begin and end at multiples of a page, which has 4096 "
                "bytes");
  EXPECT_TRUE(MappedRange::Map({{&file, 0, kPage}, {&file, kPage, 100}}).ok());
}

TEST_F(MappedRangeTest, IsFilledInAnyOrderFromFilesThatAreClosed) {
  MappedRange range = MappedRange::Reserve(3 * kPage + 50, "it").value();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(range.bytes().data()) % (2 << 20), 0u);
  {
    const OpenFile file = File("order1", 'a', 4);
    ASSERT_TRUE(range.Fill(2 * kPage, {&file, 0, kPage + 50}).ok());
  }
  {
    const OpenFile file = File("order2", 'p', 4);
    ASSERT_TRUE(range.Fill(0, {&file, kPage, 2 * kPage}).ok());
    const absl::Status beyond = range.Fill(3 * kPage, {&file, 0, kPage});
    EXPECT_EQ(beyond.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(beyond.message(),
              file.path() + ": 4096 bytes at 0 do not fit at 12288 of a range of 12338");
    EXPECT_FALSE(range.Fill(100, {&file, 0, kPage}).ok());
    EXPECT_FALSE(range.Fill(0, {&file, 0, kPage + 50}).ok());
  }
  EXPECT_EQ(Pages(range), "qrab");
}

TEST_F(MappedRangeTest, WhatNoMemoryHasIsRefused) {
  const auto range = MappedRange::Reserve(int64_t{1} << 56, "it");
  EXPECT_EQ(range.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(range.status().message(), "it: cannot reserve memory: Cannot allocate memory");
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
