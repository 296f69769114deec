#include "loader/torch_pickle/zip_archive.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "loader/torch_pickle/test_torch_zip.h"

namespace mneme::loader {
namespace {

using testing::HasSubstr;

absl::StatusOr<std::map<std::string, ZipRecord>> Read(const std::string& file) {
  return ReadZipDirectory({reinterpret_cast<const uint8_t*>(file.data()), file.size()});
}

std::string Text(const ZipRecord& record) {
  return {reinterpret_cast<const char*>(record.bytes.data()), record.bytes.size()};
}

const std::vector<TestRecord> kTwo = {{"a/one", "first"}, {"a/two", "second record"}};

TEST(ZipArchiveTest, FindsRecords) {
  for (const bool zip64 : {false, true}) {
    for (const std::string comment : {"", "a comment with PK\x05\x06 inside"}) {
      const std::string file = MakeZip(kTwo, {.zip64 = zip64, .comment = comment});
      const auto records = Read(file);
      ASSERT_TRUE(records.ok()) << records.status();
      ASSERT_EQ(records->size(), 2u);
      EXPECT_EQ(Text(records->at("a/one")), "first");
      EXPECT_EQ(Text(records->at("a/two")), "second record");
    }
  }
}

TEST(ZipArchiveTest, SaysWhatIsCompressedOrEncrypted) {
  const std::string file =
      MakeZip({{"packed", "x", /*method=*/8}, {"locked", "y", 0, /*flags=*/1}});
  const auto records = Read(file);
  ASSERT_TRUE(records.ok()) << records.status();
  EXPECT_EQ(records->at("packed").method, 8);
  EXPECT_TRUE(records->at("locked").encrypted);
}

TEST(ZipArchiveTest, RefusesEveryTruncation) {
  for (const bool zip64 : {false, true}) {
    const std::string file = MakeZip(kTwo, {.zip64 = zip64});
    for (size_t size = 0; size < file.size(); ++size) {
      const auto records = Read(file.substr(0, size));
      ASSERT_EQ(records.status().code(), absl::StatusCode::kInvalidArgument) << size;
      ASSERT_THAT(std::string(records.status().message()), testing::StartsWith("zip: "));
    }
  }
}

// The file with `bytes` written at `at`.
std::string Patched(std::string file, size_t at, const std::string& bytes) {
  return file.replace(at, bytes.size(), bytes);
}

struct Refusal {
  const char* what;
  std::string file;
  std::string message;
};

TEST(ZipArchiveTest, RefusesWhatDoesNotFit) {
  const std::string file = MakeZip(kTwo);
  const size_t second_local = 30 + 5 + 5;
  const size_t directory = second_local + 30 + 5 + 13;
  const size_t end = file.size() - 22;
  const std::string file64 = MakeZip(kTwo, {.zip64 = true});
  const size_t locator = file64.size() - 22 - 20;
  const size_t end64 = locator - 56;
  const std::vector<Refusal> refusals = {
      {"no zip", std::string(100, 'x'), "no end record: not a zip file, or cut short"},
      {"too short", "PK", "has 2 bytes, too few"},
      {"several disks", Patched(file, end + 4, LittleEndian(1, 2)), "several disks"},
      {"directory past the end", Patched(file, end + 16, LittleEndian(1 << 20, 4)),
       "does not end before byte"},
      {"directory too long", Patched(file, end + 12, LittleEndian(1 << 20, 4)),
       "central directory of 1048576 bytes"},
      {"too few records", Patched(file, end + 10, LittleEndian(1, 2)), "bytes after its 1 records"},
      {"too many records", Patched(file, end + 10, LittleEndian(3, 2)),
       "no central directory entry"},
      {"2^40 records", Patched(file64, end64 + 32, LittleEndian(uint64_t{1} << 40, 8)),
       "1099511627776 records are more than"},
      {"bad zip64 locator", Patched(file64, locator + 8, LittleEndian(~uint64_t{0}, 8)),
       "no zip64 end record at byte 18446744073709551615"},
      {"no zip64 locator", Patched(file, end + 10, LittleEndian(0xffff, 2)), "no zip64 locator"},
      {"directory offset near 2^64", Patched(file64, end64 + 48, LittleEndian(~uint64_t{0}, 8)),
       "at byte 18446744073709551615"},
      {"name cut short", Patched(file, directory + 28, LittleEndian(0xffff, 2)), "is cut short"},
      {"local header elsewhere", Patched(file, directory + 42, LittleEndian(3, 4)),
       "record \"a/one\": no local header at byte 3"},
      {"names disagree", Patched(file, 30, "b"), "disagree"},
      {"methods disagree", Patched(file, 8, LittleEndian(8, 2)), "disagree"},
      {"sizes disagree", Patched(file, directory + 24, LittleEndian(6, 4)),
       "stored, but 5 bytes stand for 6"},
      {"bytes past the data",
       Patched(Patched(file, directory + 20, LittleEndian(5000, 4)), directory + 24,
               LittleEndian(5000, 4)),
       "record \"a/one\": 5000 bytes at byte 35 reach past the data"},
      {"overlap",
       Patched(Patched(file, directory + 20, LittleEndian(20, 4)), directory + 24,
               LittleEndian(20, 4)),
       "records overlap at byte 40"},
      {"one name twice", MakeZip({{"same", "1"}, {"same", "2"}}), "\"same\" is there twice"},
  };
  for (const Refusal& refusal : refusals) {
    const auto records = Read(refusal.file);
    EXPECT_EQ(records.status().code(), absl::StatusCode::kInvalidArgument) << refusal.what;
    EXPECT_THAT(std::string(records.status().message()), HasSubstr(refusal.message))
        << refusal.what;
  }
}

}  // namespace
}  // namespace mneme::loader
