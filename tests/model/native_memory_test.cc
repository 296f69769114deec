// What the engine makes of a native folder before it reads a weight: a table that is larger than
// the memory is mapped all the same, and a manifest must have what the config asks for.

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"
#include "clients/cli/checkpoint_report.h"
#include "engine/plan_model.h"
#include "engine/rank_weights.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "loader/checkpoint/file_identity.h"
#include "loader/families/made_up_checkpoint.h"
#include "loader/native/checksum.h"
#include "loader/native/convert.h"

namespace mneme::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::string Folder(const std::string& name) {
  const std::string path = ::testing::TempDir() + "/" + name;
  fs::remove_all(path);
  fs::create_directories(path);
  return path;
}

std::string Text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The native folder that a conversion would give, but that all elements are holes in the files.
std::string WriteHollow(const std::string& source, const std::string& name) {
  const std::string out = Folder(name);
  const loader::Checkpoint checkpoint = loader::InspectCheckpoint(source).value();
  const std::string conversion(32, '5');
  const std::string sum(16, '0');
  loader::ShardPlan plan =
      loader::PlanShards(checkpoint.model, checkpoint.weights, {{}, conversion}).value();
  loader::Manifest manifest;
  manifest.conversion = conversion;
  const std::string config = Text(source + "/config.yaml");
  std::ofstream(out + "/config.yaml") << config;
  manifest.config = "config.yaml";
  manifest.copies = {
      {"config.yaml", static_cast<int64_t>(config.size()), loader::ChecksumOf(config)}};
  for (const loader::PlannedShard& shard : plan.shards) {
    std::ofstream(out + "/" + shard.file, std::ios::binary) << shard.header;
    fs::resize_file(out + "/" + shard.file, static_cast<uintmax_t>(shard.bytes));
    manifest.shards.push_back(
        {shard.file, shard.bytes, static_cast<int64_t>(shard.header.size()), sum});
  }
  for (loader::ManifestWeight& weight : plan.weights) {
    for (loader::ManifestTensor& tensor : weight.tensors) {
      const int64_t sums = (tensor.bytes + loader::kChecksumBytes - 1) / loader::kChecksumBytes;
      tensor.checksums.assign(static_cast<size_t>(sums), sum);
    }
  }
  manifest.weights = plan.weights;
  std::ofstream(out + "/manifest.json") << manifest.Print();
  return out;
}

ModelOptions Options(const std::string& directory) {
  ModelOptions options;
  options.model_directory = directory;
  options.max_step_tokens = 16;
  options.max_sequences = 1;
  options.ranks = 1;
  return options;
}

absl::Status Pack(const ModelOptions& options) {
  const absl::StatusOr<PlannedModel> planned = PlanModel(options);
  if (!planned.ok()) return planned.status();
  const auto weights =
      options.process.processes > 1 ? PackRank(*planned, options, 0) : PackModel(*planned, options);
  return weights.status();
}

TEST(NativeMemoryTest, ATableLargerThanTheMemoryIsMapped) {
  // Four times the machine's memory, twice for either of two ranks, in rows of which there are a
  // million. What is free changes while this runs, and a table that did fit would be packed.
  const int64_t memory = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGE_SIZE);
  const int64_t width = 4 * memory / (int64_t{2} << 20) / 64 * 64;
  ASSERT_GT(width, 0);
  const loader::MadeUpSize size{.layers = 1,
                                .dim = 128,
                                .mlp_hidden = 128,
                                .embedding_size = 512,
                                .keys = 1024,
                                .key_dim = 16,
                                .value_dim = width,
                                .pre_value_dim = 64,
                                .max_sequence_length = 64};
  const std::string source = Folder("huge");
  ASSERT_TRUE(loader::WriteMadeUpCheckpoint(size, source).ok());
  const absl::Status refused = Pack(Options(source));
  ASSERT_EQ(refused.code(), absl::StatusCode::kResourceExhausted) << refused;
  EXPECT_THAT(std::string(refused.message()),
              HasSubstr("for value tables and other weights that are not used in place"));

  const std::string native = WriteHollow(source, "huge_native");
  EXPECT_TRUE(Pack(Options(native)).ok()) << Pack(Options(native));
  ModelOptions copies = Options(native);
  copies.huge_pages = true;
  ASSERT_EQ(Pack(copies).code(), absl::StatusCode::kResourceExhausted);
  // A rank that has its own rows by turns maps all of them; columns are packed anew.
  ModelOptions two = Options(native);
  two.ranks = 2;
  two.process.processes = 2;
  two.cost.exchange_seconds = 1e-12;
  two.pins.tables = plan::LayoutPins::Tables::kRows;
  EXPECT_TRUE(Pack(two).ok()) << Pack(two);
  two.huge_pages = true;
  ASSERT_EQ(Pack(two).code(), absl::StatusCode::kResourceExhausted);
  two.huge_pages = false;
  two.pins.tables = plan::LayoutPins::Tables::kColumns;
  ASSERT_EQ(Pack(two).code(), absl::StatusCode::kResourceExhausted);
}

constexpr loader::MadeUpSize kSmall{.layers = 1,
                                    .dim = 128,
                                    .mlp_hidden = 128,
                                    .embedding_size = 512,
                                    .keys = 64,
                                    .key_dim = 16,
                                    .value_dim = 48,
                                    .pre_value_dim = 20,
                                    .max_sequence_length = 64};

TEST(NativeMemoryTest, AManifestMustHaveWhatTheConfigAsksFor) {
  const std::string source = Folder("small");
  ASSERT_TRUE(loader::WriteMadeUpCheckpoint(kSmall, source).ok());
  const std::string native = WriteHollow(source, "small_native");
  ASSERT_TRUE(Pack(Options(native)).ok()) << Pack(Options(native));
  const std::string path = native + "/manifest.json";
  const std::string name = "block.0.query";
  loader::Manifest manifest = loader::Manifest::Parse(Text(path), path).value();
  std::erase_if(manifest.weights, [&](const auto& w) { return w.name == name; });
  std::ofstream(path) << manifest.Print();
  // Of the shard's header the tensor becomes one that no manifest lists.
  const std::string shard = native + "/" + manifest.shards[0].file;
  std::string bytes = Text(shard);
  bytes.replace(bytes.find("\"" + name + "\""), name.size() + 2, "\"padding.query\"");
  std::ofstream(shard, std::ios::binary) << bytes;
  const absl::Status status = Pack(Options(native));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(status.message()),
            native +
                "/manifest.json: weight \"block.0.query\": is missing; by "
                "config.yaml it is [128, 128]");
}

TEST(NativeMemoryTest, AWeightOfAnotherSizeThanTheConfigSaysIsRefused) {
  const std::string source = Folder("other");
  ASSERT_TRUE(loader::WriteMadeUpCheckpoint(kSmall, source).ok());
  const std::string native = WriteHollow(source, "other_native");
  const std::string path = native + "/manifest.json";
  loader::Manifest manifest = loader::Manifest::Parse(Text(path), path).value();
  std::string config = Text(native + "/config.yaml");
  const std::string from = "mem_vdim: 48";
  config.replace(config.find(from), from.size(), "mem_vdim: 46");
  std::ofstream(native + "/config.yaml") << config;
  manifest.copies[0].hash = loader::ChecksumOf(config);
  std::ofstream(path) << manifest.Print();
  const absl::Status status = Pack(Options(native));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  // The first of them: 48 values, of which the config has 46 now.
  EXPECT_EQ(std::string(status.message()),
            native +
                "/manifest.json: weight \"memory.table\": is [4096, 20 + 48], "
                "by config.yaml [4096, 20 + 46]");
}

TEST(NativeMemoryTest, CopiesAreToldApartByTheirConversion) {
  const std::string source = Folder("identity");
  ASSERT_TRUE(loader::WriteMadeUpCheckpoint(kSmall, source).ok());
  const std::string native = WriteHollow(source, "identity_native");
  const auto identify = [&] {
    return loader::IdentifyFiles(loader::InspectCheckpoint(native).value()).value();
  };
  const std::vector<loader::FileIdentity> before = identify();
  ASSERT_EQ(before.size(), 3u);
  EXPECT_EQ(before[0].name, "config.yaml");
  EXPECT_EQ(before[1].name, "manifest.json");
  EXPECT_EQ(before[2].name, "model-00001-of-00001.safetensors");
  EXPECT_EQ(loader::FileDifference(before, identify()), "");
  // Another conversion of the same sizes.
  for (const std::string& file : {before[1].name, before[2].name}) {
    std::string bytes = Text(native + "/" + file);
    bytes.replace(bytes.find(std::string(32, '5')), 32, std::string(32, '6'));
    std::ofstream(native + "/" + file, std::ios::binary) << bytes;
  }
  EXPECT_EQ(loader::FileDifference(before, identify()),
            absl::StrCat("manifest.json: its text has hash ", before[1].hash, " here, ",
                         identify()[1].hash, " there"));
}

TEST(NativeMemoryTest, AReportCountsTheSameParameters) {
  const std::string source = Folder("report");
  ASSERT_TRUE(loader::WriteMadeUpCheckpoint(kSmall, source).ok());
  const auto before = cli::ReportOn(loader::InspectCheckpoint(source).value());
  const auto after =
      cli::ReportOn(loader::InspectCheckpoint(WriteHollow(source, "report_native")).value());
  EXPECT_EQ(after.parameters, before.parameters);
  for (const char* name : {"embedding", "dense", "keys", "value_rows", "buffers"}) {
    EXPECT_EQ(after.classes.at(name).elements, before.classes.at(name).elements) << name;
  }
  // Rows of 68 elements are padded to 96.
  EXPECT_EQ(after.classes.at("value_rows").bytes, 64 * 64 * 192);
  EXPECT_EQ(after.classes.count("unused"), 0u);
  EXPECT_GT(after.classes.at("computed").elements, 0);
}

}  // namespace
}  // namespace mneme::testing
