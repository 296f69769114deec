#include "loader/native/verify.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "loader/native/convert.h"
#include "loader/native/journal.h"
#include "loader/native/test_checkpoint.h"

namespace mneme::loader {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class VerifyTest : public testing::Test {
 protected:
  VerifyTest() : out_(FreshFolder("out")) {
    const Checkpoint checkpoint = WriteTestCheckpoint(FreshFolder("in"));
    const ConvertOptions options{.dtype = Manifest::DType::kStored,
                                 .shard_bytes = kLeastShardBytes};
    EXPECT_TRUE(ConvertCheckpoint(checkpoint, out_, options, {}).ok());
    auto manifest = ReadManifest(out_);
    EXPECT_TRUE(manifest.ok()) << manifest.status();
    manifest_ = *std::move(manifest);
  }

  VerifyReport Verify(int32_t threads = 3) {
    const auto report = VerifyNative(out_, {.threads = threads, .on_progress = nullptr});
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *report : VerifyReport{};
  }

  std::string PathOf(int64_t shard) const {
    return out_ + "/" + manifest_.shards[static_cast<size_t>(shard - 1)].file;
  }

  void Flip(const std::string& path, int64_t offset) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(offset);
    const int byte = file.get();
    file.seekp(offset);
    file.put(static_cast<char>(byte ^ 1));
  }

  const ManifestTensor& Tensor(const std::string& name) const {
    for (const ManifestWeight& weight : manifest_.weights) {
      for (const ManifestTensor& tensor : weight.tensors) {
        if (tensor.name == name) return tensor;
      }
    }
    ADD_FAILURE() << name;
    return manifest_.weights[0].tensors[0];
  }

  std::string out_;
  Manifest manifest_;
};

TEST_F(VerifyTest, AFolderThatIsAsItWasWrittenHasNoDifferences) {
  int64_t last = 0;
  int64_t total = 0;
  const auto verified =
      VerifyNative(out_, {.threads = 2, .on_progress = [&](int64_t done, int64_t of) {
                            EXPECT_GT(done, last);
                            last = done;
                            total = of;
                          }});
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_EQ(verified->differences, 0);
  EXPECT_EQ(verified->shards, static_cast<int64_t>(manifest_.shards.size()));
  EXPECT_EQ(verified->conversion, manifest_.conversion);
  int64_t bytes = 0;
  for (const ManifestShard& shard : manifest_.shards) bytes += shard.bytes;
  for (const ManifestFile& copy : manifest_.copies) bytes += copy.bytes;
  EXPECT_EQ(verified->bytes, bytes);
  EXPECT_EQ(last, bytes);
  EXPECT_EQ(total, bytes);
}

// Everywhere: in each tensor's first and last byte, each header, each padding and each copy.
TEST_F(VerifyTest, AFlippedByteIsFoundWhereverItIs) {
  const ManifestTensor table = Tensor("memory.table.block.1");
  Flip(PathOf(table.shard), table.offset + 100);
  const std::string file = manifest_.shards[static_cast<size_t>(table.shard - 1)].file;
  VerifyReport report = Verify();
  ASSERT_EQ(report.differences, 1);
  EXPECT_THAT(
      report.messages[0],
      testing::AllOf(
          StartsWith(file + ": tensor \"memory.table.block.1\": block 0, bytes [" +
                     std::to_string(table.offset) + ", " +
                     std::to_string(table.offset + table.bytes) + ") of the file: checksum "),
          HasSubstr(", the manifest says " + table.checksums[0])));
  Flip(PathOf(table.shard), table.offset + 100);

  Flip(PathOf(1), 30);
  report = Verify(1);
  ASSERT_EQ(report.differences, 1);
  EXPECT_THAT(report.messages[0], StartsWith(manifest_.shards[0].file + ": "));
  Flip(PathOf(1), 30);
  Flip(PathOf(1), manifest_.shards[0].header_bytes - 1);  // one of the spaces
  EXPECT_THAT(Verify().messages,
              ElementsAre(StartsWith(manifest_.shards[0].file + ": the header, bytes [0, ")));
  Flip(PathOf(1), manifest_.shards[0].header_bytes - 1);

  // The table's first block begins at 2 MiB, behind padding.
  const ManifestTensor first = Tensor("memory.table.block.0");
  Flip(PathOf(first.shard), first.offset - 1);
  EXPECT_THAT(Verify().messages, ElementsAre(HasSubstr(": padding, bytes [")));
  Flip(PathOf(first.shard), first.offset - 1);

  Flip(out_ + "/config.yaml", 3);
  EXPECT_THAT(Verify().messages, ElementsAre(HasSubstr("config.yaml: all of it, bytes [0, 15)")));
  Flip(out_ + "/config.yaml", 3);

  for (const ManifestWeight& weight : manifest_.weights) {
    for (const ManifestTensor& tensor : weight.tensors) {
      Flip(PathOf(tensor.shard), tensor.offset + tensor.bytes - 1);
    }
  }
  report = Verify();
  EXPECT_EQ(report.differences, report.tensors);
  EXPECT_EQ(report.messages.size(), kMostDifferences);
}

TEST_F(VerifyTest, MissingAndCutShardsAreNamed) {
  std::filesystem::resize_file(PathOf(2), 5000);
  std::filesystem::remove(PathOf(3));
  EXPECT_THAT(Verify().messages,
              ElementsAre(manifest_.shards[1].file + ": has 5000 bytes, the manifest says " +
                              std::to_string(manifest_.shards[1].bytes),
                          manifest_.shards[2].file + ": is missing"));
  std::filesystem::create_directory(PathOf(3));
  EXPECT_THAT(Verify().messages, ElementsAre(HasSubstr(": has 5000 bytes, "),
                                             manifest_.shards[2].file + ": is not a regular file"));
}

// What the system refuses is no damage.
TEST_F(VerifyTest, AFileThatCannotBeOpenedIsAnErrorAndNotMissing) {
  std::filesystem::remove(PathOf(2));
  std::filesystem::create_symlink(manifest_.shards[1].file, PathOf(2));
  const auto report = VerifyNative(out_, {});
  EXPECT_EQ(report.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(report.status().message(),
            PathOf(2) + ": cannot open: Too many levels of symbolic links");
}

// A process may have fewer files open than a folder has shards.
TEST_F(VerifyTest, OneFileAThreadIsOpenAtATime) {
  ASSERT_GT(manifest_.shards.size(), 4u);
  const int next = dup(0);
  ASSERT_GE(next, 0);
  close(next);
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit few = {.rlim_cur = static_cast<rlim_t>(next) + 2, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  const auto report = VerifyNative(out_, {.threads = 2, .on_progress = nullptr});
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->messages, testing::IsEmpty());
}

TEST_F(VerifyTest, AShardOfAnotherConversionIsNamed) {
  const std::string out = FreshFolder("other");
  Checkpoint checkpoint = WriteTestCheckpoint(FreshFolder("in"));
  checkpoint.options.ignored_config_keys = {"x"};
  const ConvertOptions options{.dtype = Manifest::DType::kStored, .shard_bytes = kLeastShardBytes};
  const auto other = ConvertCheckpoint(checkpoint, out, options, {});
  ASSERT_TRUE(other.ok()) << other.status();
  ASSERT_NE(other->conversion, manifest_.conversion);
  const auto copy = std::filesystem::copy_options::overwrite_existing;
  std::filesystem::copy_file(out + "/" + manifest_.shards[1].file, PathOf(2), copy);
  EXPECT_THAT(
      Verify().messages,
      ElementsAre(manifest_.shards[1].file + ": is shard \"2\" of \"" +
                  std::to_string(other->shards) + "\" of conversion \"" + other->conversion +
                  "\", the manifest's is shard 2 of " + std::to_string(other->shards) +
                  " of conversion " + manifest_.conversion));
}

TEST_F(VerifyTest, FoldersWithoutAManifestAreRefused) {
  std::filesystem::remove(out_ + "/" + kManifestName);
  auto report = VerifyNative(out_, {});
  EXPECT_EQ(report.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(report.status().message(),
            out_ + ": has the shard " + manifest_.shards[0].file +
                ", but no manifest.json: nothing says what its shards hold; remove the folder and "
                "convert anew");
  report = VerifyNative(testing::TempDir(), {});
  EXPECT_EQ(report.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(
      report.status().message(),
      testing::TempDir() + ": has no manifest.json: `mneme convert` has not written this folder");
  std::ofstream(out_ + "/" + kManifestName) << R"({"format":"mneme","version":7})";
  report = VerifyNative(out_, {});
  EXPECT_EQ(report.status().message(),
            out_ + "/manifest.json: version 7 is newer than this build reads (1)");
}

// On a folder that is large enough; how fast this machine is does not matter.
TEST_F(VerifyTest, RatesAreMeasuredWhereThereIsEnough) {
  const VerifyReport report = Verify(1);
  EXPECT_GT(report.seconds, 0);
  EXPECT_GT(report.bytes, kLeastMeasured);
  EXPECT_GT(report.checked_per_second, 0);
}

}  // namespace
}  // namespace mneme::loader
