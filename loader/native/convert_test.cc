#include "loader/native/convert.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "loader/native/journal.h"
#include "loader/native/output_folder.h"
#include "loader/native/test_checkpoint.h"
#include "loader/native/verify.h"

namespace mneme::loader {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr ConvertOptions kSmallShards{.dtype = Manifest::DType::kStored,
                                      .shard_bytes = kLeastShardBytes};

void ExpectVerified(const std::string& folder) {
  const auto report = VerifyNative(folder, {.threads = 2, .on_progress = nullptr});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->differences, 0) << report->messages[0];
}

ConvertReport Convert(const Checkpoint& checkpoint, const std::string& out,
                      const ConvertOptions& options) {
  const auto report = ConvertCheckpoint(checkpoint, out, options, {});
  EXPECT_TRUE(report.ok()) << report.status();
  return report.ok() ? *report : ConvertReport{};
}

std::string Refusal(const Checkpoint& checkpoint, const std::string& out,
                    const ConvertOptions& options) {
  const auto report = ConvertCheckpoint(checkpoint, out, options, {});
  return report.ok() ? "converted" : std::string(report.status().message());
}

// Stops when so many bytes are in place.
absl::Status ConvertUntil(const Checkpoint& checkpoint, const std::string& out, int64_t bytes) {
  std::atomic<bool> stop = false;
  const ConvertHooks hooks{[&](int64_t done, int64_t) { stop = done >= bytes; }, &stop};
  return ConvertCheckpoint(checkpoint, out, kSmallShards, hooks).status();
}

std::map<std::string, ino_t> Shards(const std::string& folder) {
  std::map<std::string, ino_t> shards;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    struct stat status;
    if (entry.path().extension() != ".safetensors") continue;
    if (stat(entry.path().c_str(), &status) == 0) {
      shards[entry.path().filename().string()] = status.st_ino;
    }
  }
  return shards;
}

struct GoldenCase {
  const char* name;
  Manifest::DType dtype;
};

class ConvertGoldenTest : public testing::TestWithParam<GoldenCase> {};

TEST_P(ConvertGoldenTest, HasTheBitsOfTheUnconvertedOne) {
  const auto checkpoint = InspectCheckpoint(std::string("tests/golden/") + GetParam().name);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const std::string out = FreshFolder("golden");
  ConvertOptions options;
  options.dtype = GetParam().dtype;
  const ConvertReport report = Convert(*checkpoint, out, options);
  EXPECT_EQ(report.shards, 1);
  EXPECT_EQ(report.conversion.size(), 32u);
  ExpectSameWeights(*checkpoint, GetParam().dtype, out);
  ExpectVerified(out);
  const std::string config = "/" + checkpoint->texts[0];
  EXPECT_EQ(FileContents(out + config), FileContents(checkpoint->directory + config));
  EXPECT_FALSE(std::filesystem::exists(out + "/" + kJournalName));
}

std::vector<GoldenCase> GoldenCases() {
  std::vector<GoldenCase> cases;
  for (const char* name :
       {"dense", "dense_llama", "memory_plus", "ultramem_v1_skip", "ultramem_v2",
        "ultramem_v2_corners", "ultramem_v2_expand", "ultramem_v2_options", "ultramem_v2_plain",
        "mixtral", "mixtral_llama3rope", "olmoe", "olmoe_fused", "qwen2_moe", "qwen3_moe"}) {
    for (const auto dtype :
         {Manifest::DType::kStored, Manifest::DType::kBf16, Manifest::DType::kF32}) {
      cases.push_back({name, dtype});
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, ConvertGoldenTest, testing::ValuesIn(GoldenCases()),
                         [](const auto& info) {
                           return std::string(info.param.name) + "_" +
                                  ManifestDTypeName(info.param.dtype);
                         });

TEST(ConvertTest, ExpertsTablesAndDividedMatricesHaveTheirBits) {
  const Checkpoint checkpoint = WriteTestCheckpoint(FreshFolder("in"));
  for (const auto dtype :
       {Manifest::DType::kStored, Manifest::DType::kBf16, Manifest::DType::kF32}) {
    for (const int64_t shard_bytes : {kLeastShardBytes, kMostShardBytes}) {
      const std::string out = FreshFolder("out");
      const ConvertReport report = Convert(checkpoint, out, {dtype, shard_bytes});
      EXPECT_EQ(report.shards > 1, shard_bytes == kLeastShardBytes);
      EXPECT_EQ(Shards(out).size(), static_cast<size_t>(report.shards));
      ExpectSameWeights(checkpoint, dtype, out);
      ExpectVerified(out);
    }
  }
}

TEST(ConvertTest, TheManifestSaysWhereItCameFrom) {
  Checkpoint checkpoint = WriteTestCheckpoint(FreshFolder("in"));
  checkpoint.options.ignored_config_keys = {"rope.factor"};
  const std::string out = FreshFolder("out");
  Convert(checkpoint, out, {Manifest::DType::kBf16, kMostShardBytes});
  const auto manifest = ReadManifest(out);
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  ASSERT_EQ(manifest->source.size(), 3u);
  EXPECT_EQ(manifest->source[2].name, "tokenizer.json");
  EXPECT_EQ(manifest->source[0].name, "config.yaml");
  EXPECT_EQ(manifest->source[1].bytes, static_cast<int64_t>(std::filesystem::file_size(
                                           checkpoint.directory + "/model.safetensors")));
  EXPECT_EQ(manifest->config, "config.yaml");
  ASSERT_EQ(manifest->copies.size(), 2u);
  EXPECT_EQ(manifest->copies[1].name, "tokenizer.json");
  EXPECT_EQ(manifest->ignored_config_keys, std::vector<std::string>{"rope.factor"});
}

TEST(ConvertTest, OneThatWasStoppedGoesOnAndGivesTheSameBytes) {
  const Checkpoint checkpoint = WriteTestCheckpoint(FreshFolder("in"));
  const std::string whole = FreshFolder("whole");
  const int64_t bytes = Convert(checkpoint, whole, kSmallShards).bytes;
  std::mt19937 random(11);
  for (int round = 0; round < 6; ++round) {
    const std::string out = FreshFolder("out");
    const int64_t until = static_cast<int64_t>(random() % static_cast<uint64_t>(bytes / 10 * 9));
    const absl::Status stopped = ConvertUntil(checkpoint, out, until);
    ASSERT_EQ(stopped.code(), absl::StatusCode::kCancelled) << stopped;
    // What was not finished has left nothing, and there is no manifest.
    const std::map<std::string, ino_t> before = Shards(out);
    EXPECT_EQ(ReadManifest(out).status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(ReadManifest(out).status().message()),
                HasSubstr("a conversion has not come to its end"));
    size_t files = 0;
    for ([[maybe_unused]] const auto& e : std::filesystem::directory_iterator(out)) ++files;
    EXPECT_EQ(files, before.size() + 3);  // journal, config and tokenizer
    const ConvertReport report = Convert(checkpoint, out, kSmallShards);
    EXPECT_EQ(report.shards_before, static_cast<int64_t>(before.size()));
    // A shard that was finished is not written again.
    const std::map<std::string, ino_t> after = Shards(out);
    for (const auto& [name, inode] : before) EXPECT_EQ(after.at(name), inode) << name;
    ExpectSameFolders(whole, out);
  }
}

TEST(ConvertTest, AShardThatWasTakenAwaySinceIsWrittenAgain) {
  const Checkpoint checkpoint = WriteTestCheckpoint(FreshFolder("in"));
  const std::string whole = FreshFolder("whole");
  const int64_t bytes = Convert(checkpoint, whole, kSmallShards).bytes;
  const std::string out = FreshFolder("out");
  ASSERT_EQ(ConvertUntil(checkpoint, out, bytes / 2).code(), absl::StatusCode::kCancelled);
  const auto shards = Shards(out);
  ASSERT_GE(shards.size(), 2u);
  std::filesystem::remove(out + "/" + shards.begin()->first);
  // As a killed run leaves it: a partial file, and a finished one that the journal does not list.
  const std::string last = Shards(whole).rbegin()->first;
  std::ofstream(out + "/" + last) << "x";
  std::ofstream(out + "/" + last + ".partial") << "x";
  const ConvertReport report = Convert(checkpoint, out, kSmallShards);
  EXPECT_EQ(report.shards_before, static_cast<int64_t>(shards.size()) - 1);
  ExpectSameFolders(whole, out);
}

TEST(ConvertTest, ACompleteOneIsLeftAlone) {
  const Checkpoint checkpoint = WriteTestCheckpoint(FreshFolder("in"));
  const std::string out = FreshFolder("out");
  Convert(checkpoint, out, kSmallShards);
  const auto before = Shards(out);
  // As when a run is killed after its last rename.
  std::filesystem::remove(out + "/" + kJournalName);
  const ConvertReport report = Convert(checkpoint, out, kSmallShards);
  EXPECT_TRUE(report.complete_before);
  EXPECT_EQ(Shards(out), before);
  EXPECT_THAT(
      Refusal(checkpoint, out, {Manifest::DType::kBf16, kLeastShardBytes}),
      StartsWith(out + ": holds another conversion: --dtype: stored when it was converted, bf16 "
                       "now; "));
  EXPECT_THAT(
      Refusal(checkpoint, out, {}),
      HasSubstr("conversion (another --shard-mb, or another version): " + report.conversion));
  std::filesystem::remove(out + "/" + before.begin()->first);
  EXPECT_THAT(Refusal(checkpoint, out, kSmallShards),
              HasSubstr(before.begin()->first + ": is missing or another file"));
}

TEST(ConvertTest, AnotherSourceOrOptionIsRefusedWithBothValues) {
  const std::string in = FreshFolder("in");
  const Checkpoint checkpoint = WriteTestCheckpoint(in);
  const std::string out = FreshFolder("out");
  ASSERT_EQ(ConvertUntil(checkpoint, out, 1).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(Refusal(checkpoint, out, {Manifest::DType::kF32, kLeastShardBytes}),
            out +
                ": holds another conversion: --dtype: stored when the conversion began, f32 now; "
                "convert into another folder, or remove it to begin anew");
  EXPECT_THAT(Refusal(checkpoint, out, {}),
              HasSubstr("bytes of a shard: 4194304 when the conversion began, 4294967296 now"));
  std::ofstream(in + "/config.yaml", std::ios::app) << "# more\n";
  EXPECT_THAT(Refusal(checkpoint, out, kSmallShards),
              HasSubstr("config.yaml: bytes: 15 when the conversion began, 22 now"));
  std::ofstream(in + "/config.yaml") << "# of no family\n";
  std::filesystem::last_write_time(
      in + "/model.safetensors",
      std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
  EXPECT_THAT(
      Refusal(checkpoint, out, kSmallShards),
      StartsWith(in + "/model.safetensors: has changed since it was read: was modified 20"));
  EXPECT_THAT(Refusal(OpenTestCheckpoint(in), out, kSmallShards), HasSubstr("modified: 20"));
}

TEST(ConvertTest, FoldersOfOthersAreRefused) {
  const std::string in = FreshFolder("in");
  const Checkpoint checkpoint = WriteTestCheckpoint(in);
  EXPECT_EQ(Refusal(checkpoint, in, {}),
            in + ": is the source folder " + in + "; convert into a folder of its own");
  EXPECT_THAT(Refusal(checkpoint, in + "/", {}), HasSubstr(": is the source folder "));
  EXPECT_THAT(Refusal(checkpoint, in + "/deep/../inside", {}),
              HasSubstr(": is inside the source folder "));
  const std::string link = testing::TempDir() + "/link";
  std::filesystem::remove(link);
  std::filesystem::create_directory_symlink(in, link);
  EXPECT_THAT(Refusal(checkpoint, link, {}), HasSubstr(": is the source folder "));
  EXPECT_EQ(Refusal(checkpoint, in + "2", {}), "converted");
  std::filesystem::remove(in + "2/manifest.json");
  EXPECT_EQ(Refusal(checkpoint, in + "2", {}),
            in + "2: has the shard model-00001-of-00001.safetensors, but no manifest.json: nothing "
                 "says what its shards hold; remove the folder and convert anew");
  std::filesystem::remove_all(in + "2");
  EXPECT_EQ(Refusal(checkpoint, in + "2/made/too", {}), "converted");

  const std::string full = FreshFolder("full");
  std::ofstream(full + "/thesis.txt") << "x";
  EXPECT_EQ(Refusal(checkpoint, full, {}),
            full +
                ": is not empty (\"thesis.txt\") and holds no conversion: has neither "
                "manifest.json nor convert.journal.json");
  // A journal of somebody else's: whoever follows advice to remove the folder loses it.
  for (const auto& [journal, why] :
       {std::pair{"{}", "format: expected a string, found nothing"},
        std::pair{R"({"format":"diary"})", "format: expected \"mneme conversion\""},
        std::pair{"[]", "expected an object"}, std::pair{"", ""}}) {
    std::ofstream(full + "/convert.journal.json") << journal << "\n";
    EXPECT_THAT(Refusal(checkpoint, full, {}),
                AllOf(StartsWith(full + ": is not empty and holds no conversion: " + full +
                                 "/convert.journal.json: "),
                      HasSubstr(why), testing::Not(HasSubstr("remove"))));
  }
  std::ofstream(full + "/convert.journal.json") << R"({"format":"mneme conversion","version":2})"
                                                << "\n";
  EXPECT_THAT(Refusal(checkpoint, full, {}),
              AllOf(StartsWith(full + "/convert.journal.json: conversion: "),
                    HasSubstr("; remove the folder to begin anew")));
  std::filesystem::remove(full + "/convert.journal.json");
  std::ofstream(full + "/manifest.json") << "{}";
  EXPECT_THAT(Refusal(checkpoint, full, {}), StartsWith(full + "/manifest.json: format: "));
  std::ofstream(full + "/manifest.json") << R"({"format":"mneme","version":2})";
  EXPECT_EQ(Refusal(checkpoint, full, {}),
            full + "/manifest.json: version 2 is newer than this build reads (1)");
  EXPECT_THAT(Refusal(checkpoint, full + "/thesis.txt", {}), HasSubstr("Not a directory"));
  EXPECT_THAT(Refusal(checkpoint, "/nowhere/at/all", {}),
              StartsWith("/nowhere/at/all: cannot make the folder"));

  std::ofstream(in + "/manifest.json") << R"({"icons": []})";  // another program's
  EXPECT_EQ(Refusal(checkpoint, FreshFolder("out"), {}), "converted");
  std::ofstream(in + "/manifest.json") << R"({"format": "mneme"})";
  EXPECT_EQ(Refusal(checkpoint, FreshFolder("out"), {}),
            in + ": has a manifest.json: it is a native checkpoint already");
}

TEST(ConvertTest, TwoAtOnceIntoOneFolderAreNot) {
  const Checkpoint checkpoint = WriteTestCheckpoint(FreshFolder("in"));
  const std::string out = FreshFolder("out");
  {
    const auto other = OutputFolder::Open(out);
    ASSERT_TRUE(other.ok()) << other.status();
    EXPECT_EQ(Refusal(checkpoint, out, {}), out + ": another process is converting into it");
  }
  EXPECT_EQ(Refusal(checkpoint, out, {}), "converted");
}

TEST(ConvertTest, ALimitOfFileSizesKeepsWhatIsFinished) {
  const Checkpoint checkpoint = WriteTestCheckpoint(FreshFolder("in"));
  const std::string whole = FreshFolder("whole");
  const int64_t bytes = Convert(checkpoint, whole, kSmallShards).bytes;
  const std::string out = FreshFolder("out");
  ASSERT_EQ(ConvertUntil(checkpoint, out, bytes / 2).code(), absl::StatusCode::kCancelled);
  const auto before = Shards(out);
  ASSERT_FALSE(before.empty());
  rlimit limit_before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &limit_before), 0);
  const auto old = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{100'000, limit_before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const absl::Status limited = ConvertCheckpoint(checkpoint, out, kSmallShards, {}).status();
  setrlimit(RLIMIT_FSIZE, &limit_before);
  std::signal(SIGXFSZ, old);
  EXPECT_EQ(limited.code(), absl::StatusCode::kFailedPrecondition) << limited;
  // Not that there is no room: there may be any amount of it.
  EXPECT_THAT(std::string(limited.message()),
              testing::AllOf(HasSubstr("File too large"), testing::Not(HasSubstr(" are free"))));
  EXPECT_EQ(Shards(out), before);
  Convert(checkpoint, out, kSmallShards);
  ExpectSameFolders(whole, out);
}

}  // namespace
}  // namespace mneme::loader
