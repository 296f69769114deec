// Sources that are not what they were, and files that were taken away or added since.
#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "loader/native/convert.h"
#include "loader/native/journal.h"
#include "loader/native/test_checkpoint.h"
#include "loader/native/verify.h"

namespace mneme::loader {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr ConvertOptions kSmallShards{.dtype = Manifest::DType::kStored,
                                      .shard_bytes = kLeastShardBytes};

class ConvertSourceTest : public testing::Test {
 protected:
  ConvertSourceTest()
      : in_(FreshFolder("in")), out_(FreshFolder("out")), model_(in_ + "/model.safetensors") {
    WriteTestCheckpoint(in_);
  }

  absl::StatusOr<ConvertReport> Convert() const {
    return ConvertCheckpoint(OpenTestCheckpoint(in_), out_, kSmallShards, {});
  }
  std::string Refusal() const { return std::string(Convert().status().message()); }
  // Calls `change` once, when a first shard is there.
  absl::Status ConvertWhile(const std::function<void()>& change) const {
    bool changed = false;
    const ConvertHooks hooks{[&](int64_t done, int64_t) {
                               if (done >= kLeastShardBytes && !std::exchange(changed, true)) {
                                 change();
                               }
                             },
                             nullptr};
    return ConvertCheckpoint(OpenTestCheckpoint(in_), out_, kSmallShards, hooks).status();
  }
  void StopHalfway() const {
    std::atomic<bool> stop = false;
    const ConvertHooks hooks{[&](int64_t done, int64_t total) { stop = done >= total / 2; }, &stop};
    const Checkpoint checkpoint = OpenTestCheckpoint(in_);
    ASSERT_EQ(ConvertCheckpoint(checkpoint, out_, kSmallShards, hooks).status().code(),
              absl::StatusCode::kCancelled);
  }
  bool HasManifest() const { return fs::exists(out_ + "/" + kManifestName); }
  // Flips the lowest bit of each element's first byte in the last fifth of the file: what a
  // training step does, in the same shapes.
  void Retrain() const {
    std::string bytes = FileContents(model_);
    for (size_t i = bytes.size() / 5 * 4; i < bytes.size(); i += 2) {
      bytes[i] = static_cast<char>(bytes[i] ^ 1);
    }
    std::ofstream(model_, std::ios::binary) << bytes;
  }

  std::string in_;
  std::string out_;
  std::string model_;
};

TEST_F(ConvertSourceTest, OtherElementsInTheSameShapesAreAnotherConversion) {
  const auto first = Convert();
  ASSERT_TRUE(first.ok()) << first.status();
  const auto time = fs::last_write_time(model_);
  Retrain();
  fs::last_write_time(model_, time);  // as rsync leaves it
  EXPECT_THAT(Refusal(),
              StartsWith(out_ + ": holds another conversion: model.safetensors: hash: "));
  out_ = FreshFolder("second");
  const auto second = Convert();
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_NE(second->conversion, first->conversion);
}

TEST_F(ConvertSourceTest, AnotherTokenizerIsAnotherConversion) {
  ASSERT_TRUE(Convert().ok());
  std::ofstream(in_ + "/tokenizer.json") << "[]\n";
  EXPECT_THAT(Refusal(), HasSubstr("holds another conversion: tokenizer.json: hash: "));
}

TEST_F(ConvertSourceTest, ASourceThatIsReplacedMeanwhileGivesNoManifest) {
  const absl::Status status = ConvertWhile([&] {
    fs::copy_file(model_, model_ + ".new");
    fs::last_write_time(model_ + ".new", fs::last_write_time(model_));
    fs::rename(model_ + ".new", model_);
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              StartsWith(model_ + ": has changed since it was read: was file "));
  EXPECT_FALSE(HasManifest());
}

TEST_F(ConvertSourceTest, ASourceThatIsWrittenIntoMeanwhileGivesNoManifest) {
  const absl::Status status = ConvertWhile([&] {
    std::fstream file(model_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-1, std::ios::end);
    file.put('x');
    file.close();
    fs::last_write_time(model_, fs::last_write_time(model_) + std::chrono::seconds(1));
  });
  EXPECT_THAT(std::string(status.message()),
              StartsWith(model_ + ": has changed since it was read: was modified 20"));
  EXPECT_FALSE(HasManifest());
  // What the first run has written does not go on with the other bytes.
  EXPECT_THAT(Refusal(), HasSubstr("holds another conversion: model.safetensors: "));
}

TEST_F(ConvertSourceTest, AConfigThatChangesMeanwhileGivesNoManifest) {
  const absl::Status status =
      ConvertWhile([&] { std::ofstream(in_ + "/config.yaml", std::ios::app) << "#\n"; });
  EXPECT_THAT(std::string(status.message()),
              StartsWith(in_ + "/config.yaml: has changed since it was read: had 15 bytes"));
  EXPECT_FALSE(HasManifest());
}

TEST_F(ConvertSourceTest, CopiesOfAnEarlierRunAreNotLeft) {
  std::ofstream(in_ + "/generation_config.json") << "{}\n";
  StopHalfway();
  ASSERT_TRUE(fs::exists(out_ + "/generation_config.json"));
  fs::remove(in_ + "/generation_config.json");
  EXPECT_THAT(Refusal(), HasSubstr("generation_config.json: a source file when the conversion "
                                   "began, none now"));
  EXPECT_FALSE(HasManifest());
}

TEST_F(ConvertSourceTest, AFileThatServingWouldReadIsRefused) {
  StopHalfway();
  std::ofstream(out_ + "/generation_config.json") << "{}\n";
  EXPECT_EQ(Refusal(), out_ + "/generation_config.json: is not of this conversion, " + in_ +
                           " has no such file; remove it");
  fs::remove(out_ + "/generation_config.json");
  EXPECT_TRUE(Convert().ok());
}

TEST_F(ConvertSourceTest, CopiesThatWereTakenAwayAreMadeAgain) {
  ASSERT_THAT(Convert()->renewed, IsEmpty());
  EXPECT_THAT(Convert()->renewed, IsEmpty());
  fs::remove(out_ + "/config.yaml");
  std::ofstream(out_ + "/tokenizer.json") << "[]\n";
  const auto report = Convert();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->complete_before);
  EXPECT_THAT(report->renewed, ElementsAre("config.yaml", "tokenizer.json"));
  const auto verified = VerifyNative(out_, {.threads = 1, .on_progress = nullptr});
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_EQ(verified->differences, 0);
}

// Not a symbolic link to nowhere, which is NOT_FOUND: one that the system cannot follow.
TEST_F(ConvertSourceTest, AShardThatCannotBeLookedAtIsNotRemoved) {
  StopHalfway();
  std::string shard;
  for (const auto& entry : fs::directory_iterator(out_)) {
    if (entry.path().extension() == ".safetensors") shard = entry.path().string();
  }
  ASSERT_NE(shard, "");
  fs::rename(shard, in_ + "/away");
  fs::create_symlink(shard, shard);
  EXPECT_EQ(Refusal(), shard + ": cannot open: Too many levels of symbolic links");
  EXPECT_TRUE(fs::is_symlink(shard));
  fs::rename(in_ + "/away", shard);
  EXPECT_TRUE(Convert().ok());
}

TEST_F(ConvertSourceTest, ALimitOfFileSizesIsNamedFromTheFirstFile) {
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{16, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const absl::Status limited = Convert().status();
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old);
  EXPECT_EQ(limited.code(), absl::StatusCode::kFailedPrecondition) << limited;
  EXPECT_THAT(std::string(limited.message()),
              AllOf(StartsWith(out_ + "/" + kJournalName), HasSubstr(": File too large")));
}

TEST_F(ConvertSourceTest, AJournalWhoseLastLineIsTornGoesOn) {
  StopHalfway();
  const std::string path = out_ + "/" + kJournalName;
  const std::string text = FileContents(path);
  const auto whole = Journal::Parse(text, path);
  ASSERT_TRUE(whole.ok()) << whole.status();
  ASSERT_GE(whole->finished.size(), 2u);
  std::ofstream(path, std::ios::binary) << text.substr(0, text.size() - 20);
  const auto report = Convert();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->shards_before, static_cast<int64_t>(whole->finished.size()) - 1);
}

}  // namespace
}  // namespace mneme::loader
