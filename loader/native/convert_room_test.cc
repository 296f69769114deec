// A conversion that the disk has no room for.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "loader/checkpoint/checkpoint.h"
#include "loader/families/made_up_checkpoint.h"
#include "loader/native/convert.h"

namespace {
int reserve_error = 0;  // what the system answers, 0: what it has to say
}  // namespace

// In the place of the C library's, for what no test can bring about: a disk that fills up.
extern "C" int fallocate(int fd, int mode, off_t offset, off_t bytes) {
  if (reserve_error == 0) {
    return static_cast<int>(syscall(SYS_fallocate, fd, mode, offset, bytes));
  }
  errno = reserve_error;
  return -1;
}

namespace mneme::loader {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

TEST(ConvertRoomTest, WhatDoesNotFitIsRefusedBeforeAnythingIsWritten) {
  const std::string in = testing::TempDir() + "/sparse";
  const std::string out = testing::TempDir() + "/no_room";
  fs::remove_all(in);
  fs::remove_all(out);
  fs::create_directories(in);
  // A table of twice what is free, all of it a hole: 16.8 million rows of bf16.
  const auto free = static_cast<int64_t>(fs::space(in).available);
  constexpr int64_t kKeys = 4096;
  MadeUpSize size{.layers = 1,
                  .dim = 128,
                  .mlp_hidden = 128,
                  .embedding_size = 512,
                  .keys = kKeys,
                  .key_dim = 16,
                  .value_dim = free / (kKeys * kKeys) / 64 * 64 + 64,
                  .pre_value_dim = 64,
                  .max_sequence_length = 64};
  if (!WriteMadeUpCheckpoint(size, in).ok()) {
    GTEST_SKIP() << "no file here may have twice the " << free << " bytes that are free";
  }
  const auto checkpoint = InspectCheckpoint(in);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const absl::Status refused = ConvertCheckpoint(*checkpoint, out, {}, {}).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted) << refused;
  EXPECT_THAT(
      std::string(refused.message()),
      AllOf(StartsWith(out + ": "), HasSubstr(" bytes are needed, "), HasSubstr(" are free")));
  EXPECT_TRUE(fs::is_empty(out));
}

// Others may fill the disk once the conversion has looked at it.
TEST(ConvertRoomTest, NamesBothSizesWhereRoomIsWhatIsMissing) {
  const std::string in = testing::TempDir() + "/small";
  fs::remove_all(in);
  fs::create_directories(in);
  const MadeUpSize size{.layers = 1,
                        .dim = 128,
                        .mlp_hidden = 128,
                        .embedding_size = 512,
                        .keys = 64,
                        .key_dim = 16,
                        .value_dim = 64,
                        .pre_value_dim = 64,
                        .max_sequence_length = 64};
  ASSERT_TRUE(WriteMadeUpCheckpoint(size, in).ok());
  const auto checkpoint = InspectCheckpoint(in);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto refused = [&](int error) {
    const std::string out = testing::TempDir() + "/filled";
    fs::remove_all(out);
    reserve_error = error;
    absl::Status status = ConvertCheckpoint(*checkpoint, out, {}, {}).status();
    reserve_error = 0;
    return status;
  };
  for (const int error : {ENOSPC, EDQUOT}) {
    const absl::Status status = refused(error);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr(": cannot reserve "), HasSubstr(std::strerror(error)),
                      HasSubstr(" bytes are needed, "), EndsWith(" are free")));
  }
  const absl::Status limited = refused(EFBIG);
  EXPECT_EQ(limited.code(), absl::StatusCode::kFailedPrecondition) << limited;
  EXPECT_THAT(std::string(limited.message()), EndsWith("file system)"));
}

}  // namespace
}  // namespace mneme::loader
