#include "loader/native/shard_writer.h"

#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "loader/native/checksum.h"
#include "loader/native/convert.h"
#include "loader/native/test_checkpoint.h"

namespace mneme::loader {
namespace {

using testing::HasSubstr;

class ShardWriterTest : public testing::Test {
 protected:
  ShardWriterTest()
      : checkpoint_(WriteTestCheckpoint(FreshFolder("in"))),
        rows_(checkpoint_, {}),
        path_(FreshFolder("out") + "/shard") {
    auto plan = PlanShards(checkpoint_.model, checkpoint_.weights,
                           {{}, std::string(32, '0'), kMostShardBytes});
    EXPECT_TRUE(plan.ok()) << plan.status();
    plan_ = *std::move(plan);
    EXPECT_EQ(plan_.shards.size(), 1u);
  }

  absl::StatusOr<OutputFile> Create() { return OutputFile::Create(path_, plan_.shards[0].bytes); }

  Checkpoint checkpoint_;
  WeightRows rows_;
  std::string path_;
  ShardPlan plan_;
};

TEST_F(ShardWriterTest, WritesWhatItsChecksumsSay) {
  auto file = Create();
  ASSERT_TRUE(file.ok()) << file.status();
  int64_t written = 0;
  const auto checksums =
      WriteShard(plan_, 0, &rows_, &*file, {[&](int64_t bytes) { written += bytes; }, nullptr});
  ASSERT_TRUE(checksums.ok()) << checksums.status();
  ASSERT_TRUE(file->Commit().ok());
  const std::string contents = FileContents(path_);
  ASSERT_EQ(static_cast<int64_t>(contents.size()), plan_.shards[0].bytes);
  EXPECT_EQ(contents.substr(0, plan_.shards[0].header.size()), plan_.shards[0].header);
  size_t next = 0;
  int64_t tensor_bytes = 0;
  for (const ShardPiece& piece : plan_.shards[0].pieces) {
    const std::string bytes =
        contents.substr(static_cast<size_t>(piece.offset), static_cast<size_t>(piece.bytes));
    if (piece.weight < 0) {
      EXPECT_TRUE(bytes == std::string(bytes.size(), '\0'));
      continue;
    }
    tensor_bytes += piece.bytes;
    ASSERT_LT(next, checksums->size());
    EXPECT_EQ((*checksums)[next++], std::vector<std::string>{ChecksumOf(bytes)});
  }
  EXPECT_EQ(next, checksums->size());
  EXPECT_EQ(written, tensor_bytes);
}

TEST_F(ShardWriterTest, StopsWhenItIsTold) {
  std::atomic<bool> stop = true;
  auto file = Create();
  ASSERT_TRUE(file.ok()) << file.status();
  const auto checksums = WriteShard(plan_, 0, &rows_, &*file, {nullptr, &stop});
  EXPECT_EQ(checksums.status().code(), absl::StatusCode::kCancelled);
}

// As on a file system that did not reserve what it promised: the reading thread must not wait for
// ever.
TEST_F(ShardWriterTest, EndsWhenTheFileMayNotGrow) {
  auto file = Create();
  ASSERT_TRUE(file.ok()) << file.status();
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{static_cast<rlim_t>(plan_.shards[0].bytes / 2), before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const auto checksums = WriteShard(plan_, 0, &rows_, &*file, {});
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old);
  EXPECT_EQ(checksums.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(checksums.status().message()), HasSubstr("shard.partial: cannot write"));
}

}  // namespace
}  // namespace mneme::loader
