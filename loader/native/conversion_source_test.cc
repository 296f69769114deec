#include "loader/native/conversion_source.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "loader/native/test_checkpoint.h"
#include "loader/safetensors/safetensors.h"

namespace mneme::loader {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

// A folder of tensors "t0", "t1", … of so many bytes each.
class ConversionSourceTest : public testing::Test {
 protected:
  ConversionSourceTest() : folder_(FreshFolder("in")), path_(folder_ + "/model.safetensors") {
    std::ofstream(folder_ + "/config.yaml") << "# none\n";
  }
  void Write(const std::vector<std::vector<uint8_t>>& contents) const {
    std::vector<StoredTensor> tensors;
    for (size_t i = 0; i < contents.size(); ++i) {
      tensors.push_back({.name = "t" + std::to_string(i),
                         .file = {},
                         .dtype = StoredDType::kU8,
                         .shape = {static_cast<int64_t>(contents[i].size())},
                         .bytes = contents[i]});
    }
    ASSERT_TRUE(WriteSafetensors(path_, tensors, {}).ok());
  }
  Checkpoint Open() const {
    Checkpoint checkpoint;
    checkpoint.directory = folder_;
    checkpoint.files = SafetensorsFile::Open(path_).value();
    return checkpoint;
  }
  std::string Refusal(const Checkpoint& checkpoint) const {
    return std::string(ReadConversionSource(checkpoint).status().message());
  }
  std::string HashOf(const std::vector<std::vector<uint8_t>>& contents) const {
    Write(contents);
    return ReadConversionSource(Open())->files.at(1).hash;
  }

  std::string folder_;
  std::string path_;
};

TEST_F(ConversionSourceTest, NamesAllFilesAndTheCopiedOnes) {
  Write({{1, 2}});
  const auto names = [](const std::vector<JournalSource>& files) {
    std::vector<std::string> all;
    for (const JournalSource& file : files) all.push_back(file.name);
    return all;
  };
  auto source = ReadConversionSource(Open());
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_THAT(names(source->files), ElementsAre("config.yaml", "model.safetensors"));
  EXPECT_THAT(NamesNotCopied(*source), ElementsAre("generation_config.json", "tokenizer.json"));
  std::ofstream(folder_ + "/tokenizer.json") << "{}";
  source = ReadConversionSource(Open());
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_THAT(names(source->files),
              ElementsAre("config.yaml", "model.safetensors", "tokenizer.json"));
  EXPECT_THAT(names(source->copies), ElementsAre("config.yaml", "tokenizer.json"));
  EXPECT_THAT(NamesNotCopied(*source), ElementsAre("generation_config.json"));
  EXPECT_EQ(source->files[2].bytes, 2);
  EXPECT_EQ(source->files[1].modified, ReadFileState(path_)->modified());
}

TEST_F(ConversionSourceTest, AnyElementOfASmallTensorCounts) {
  std::vector<std::vector<uint8_t>> contents = {std::vector<uint8_t>(20'000), {1, 2, 3}};
  const std::string hash = HashOf(contents);
  EXPECT_EQ(HashOf(contents), hash);
  contents[0][12'345] = 1;
  EXPECT_NE(HashOf(contents), hash);
  contents[0][12'345] = 0;
  contents[1][1] = 1;
  EXPECT_NE(HashOf(contents), hash);
}

TEST_F(ConversionSourceTest, SamplesOfALargeTensorReachFromItsFirstToItsLastBytes) {
  constexpr size_t kBytes = 3'000'001;
  const auto sampled = [&](size_t byte) {
    std::vector<std::vector<uint8_t>> contents = {std::vector<uint8_t>(kBytes)};
    const std::string hash = HashOf(contents);
    contents[0][byte] = 1;
    return HashOf(contents) != hash;
  };
  for (size_t i = 0; i < 16; ++i) {
    EXPECT_TRUE(sampled((kBytes - kSampleBytes) * i / 15)) << i;
    EXPECT_TRUE(sampled((kBytes - kSampleBytes) * i / 15 + kSampleBytes - 1)) << i;
  }
  EXPECT_FALSE(sampled(kSampleBytes));  // what is documented not to be looked at
}

TEST_F(ConversionSourceTest, OfManyTensorsTheLastBytesAreLookedAt) {
  std::vector<std::vector<uint8_t>> contents(kMostSamples, std::vector<uint8_t>(4));
  contents.emplace_back(10'000);
  const std::string hash = HashOf(contents);
  contents.back()[0] = 1;
  EXPECT_EQ(HashOf(contents), hash);
  contents.back()[9'999] = 1;
  EXPECT_NE(HashOf(contents), hash);
}

TEST_F(ConversionSourceTest, AFileThatIsNotTheOneThatWasInspectedIsRefused) {
  Write({{1, 2}});
  const Checkpoint checkpoint = Open();
  const auto source = ReadConversionSource(checkpoint);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_TRUE(CheckUnchanged(*source).ok());
  Write({{3, 4}});  // which renames another file to the name
  EXPECT_THAT(Refusal(checkpoint), StartsWith(path_ + ": has changed since it was read: was "));
  EXPECT_EQ(CheckUnchanged(*source).code(), absl::StatusCode::kFailedPrecondition);
  fs::remove(path_);
  EXPECT_THAT(std::string(CheckUnchanged(*source).message()), StartsWith(path_ + ": cannot stat"));
}

TEST_F(ConversionSourceTest, AConfigThatIsNotTheOneThatWasReadIsRefused) {
  Write({{1, 2}});
  Checkpoint checkpoint = Open();
  checkpoint.config_state = ReadFileState(folder_ + "/config.yaml").value();
  EXPECT_TRUE(ReadConversionSource(checkpoint).ok());
  std::ofstream(folder_ + "/config.yaml", std::ios::app) << "# more\n";
  EXPECT_EQ(Refusal(checkpoint),
            folder_ + "/config.yaml: has changed since it was read: had 7 bytes, has 14");
}

// One tensor in each of many files.
class ManyFiles : public TensorFiles {
 public:
  ManyFiles(const std::string& folder, int count) {
    for (int i = 0; i < count; ++i) {
      const std::string path = folder + "/" + std::to_string(i) + ".safetensors";
      if (!fs::exists(path)) std::ofstream(path) << "x";
      const std::string name = std::to_string(i);
      tensors_[name] = {.name = name, .file = path, .shape = {0}, .bytes = {}};
    }
  }
  const std::map<std::string, StoredTensor>& tensors() const override { return tensors_; }
  int64_t file_bytes() const override { return 0; }
  void DropPages(std::span<const uint8_t>) const override {}

 private:
  std::map<std::string, StoredTensor> tensors_;
};

TEST_F(ConversionSourceTest, AsManyFilesAsAManifestListsAreConverted) {
  Checkpoint checkpoint;
  checkpoint.directory = folder_;
  checkpoint.files = std::make_shared<ManyFiles>(folder_, 65'535);
  const auto source = ReadConversionSource(checkpoint);  // and the config
  ASSERT_TRUE(source.ok()) << source.status();
  Journal journal;
  journal.conversion = std::string(32, '0');
  journal.source = source->files;
  journal.shard_bytes = 1;
  const auto parsed = Journal::Parse(journal.Print(), "j.json");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->source.size(), 65'536u);
  checkpoint.files = std::make_shared<ManyFiles>(folder_, 65'536);
  EXPECT_EQ(Refusal(checkpoint), folder_ + ": has 65537 files to convert; at most 65536 can be");
}

TEST_F(ConversionSourceTest, WhatAManifestCannotHoldIsRefused) {
  Write({{1, 2}});
  Checkpoint checkpoint = Open();
  checkpoint.options.ignored_config_keys = {""};
  EXPECT_THAT(Refusal(checkpoint), StartsWith("the config key \"\", which is to be ignored, is "));
  checkpoint.options.ignored_config_keys = {std::string(1025, 'k')};
  EXPECT_THAT(Refusal(checkpoint), HasSubstr("is not UTF-8 of 1 to 1024 bytes"));
  checkpoint.options.ignored_config_keys = {"a\xff"};
  EXPECT_THAT(Refusal(checkpoint), HasSubstr("is not UTF-8 of 1 to 1024 bytes"));
  checkpoint.options.ignored_config_keys = {std::string(1024, 'k')};
  EXPECT_TRUE(ReadConversionSource(checkpoint).ok());
}

}  // namespace
}  // namespace mneme::loader
