// The whole engine over a real model: many requests at once, with cancels and with too few KV
// blocks, give bit for bit what each gives alone, and leave no block behind.

#include "engine/serving.h"

#include <array>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/serving_load.h"
#include "gtest/gtest.h"

namespace mneme {
namespace {

using testing::RandomRequest;
using testing::Reader;

ServingOptions Options(const std::string& name) {
  ServingOptions options;
  options.model_directory = "tests/golden/" + name;
  options.max_step_tokens = 48;
  options.max_sequences = 16;
  return options;
}

std::unique_ptr<Serving> Serve(const ServingOptions& options) {
  absl::StatusOr<std::unique_ptr<Serving>> serving = Serving::Create(options);
  EXPECT_TRUE(serving.ok()) << serving.status();
  return serving.ok() ? *std::move(serving) : nullptr;
}

struct Shared {
  std::string model;
  int32_t ranks = 1;
};

class ServingTest : public ::testing::TestWithParam<Shared> {};

// Several ranks have everything split that can be.
TEST_P(ServingTest, ManyAtOnceGiveWhatEachGivesAlone) {
  ServingOptions options = Options(GetParam().model);
  options.ranks = GetParam().ranks;
  if (options.ranks > 1) {
    options.pins.weights = plan::LayoutPins::Weights::kSplit;
    options.pins.tables = plan::LayoutPins::Tables::kRows;
  }
  ServingOptions alone = options;
  alone.max_step_tokens = 16;
  testing::ExpectManyAtOnceGiveWhatEachGivesAlone(options, alone);
}

INSTANTIATE_TEST_SUITE_P(Cases, ServingTest,
                         ::testing::Values(Shared{"ultramem_v2", 1}, Shared{"ultramem_v1_skip", 1},
                                           Shared{"memory_plus", 1}, Shared{"ultramem_v2", 2},
                                           Shared{"ultramem_v2", 3}, Shared{"memory_plus", 2}),
                         [](const auto& info) {
                           return absl::StrCat(info.param.model, "_on_", info.param.ranks);
                         });

TEST(ServingTrafficTest, RequestsSumToTheSteps) {
  auto serving = Serve(Options("ultramem_v2"));
  ASSERT_NE(serving, nullptr);
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::array<double, kernels::kTrafficClasses> read{};
  std::array<double, kernels::kTrafficClasses> written{};
  for (int i = 0; i < 12; ++i) {
    threads.emplace_back([&, i] {
      Reader reader;
      const GenerateRequest request = RandomRequest(i);
      auto generation = serving->engine().Generate(request, &reader);
      ASSERT_TRUE(generation.ok()) << generation.status();
      reader.ReadAll(generation->get(), request.n, -1);
      std::lock_guard lock(mutex);
      const RequestUsage usage = (*generation)->usage();
      for (int c = 0; c < kernels::kTrafficClasses; ++c) {
        read[c] += usage.read_bytes[c];
        written[c] += usage.written_bytes[c];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const EngineStats stats = serving->engine().stats();
  double written_in_all = 0;
  for (int c = 0; c < kernels::kTrafficClasses; ++c) {
    const double total_read = static_cast<double>(stats.traffic_total.read_bytes[c]);
    EXPECT_NEAR(read[c], total_read, 1e-9 * total_read + 1) << c;
    const double total_written = static_cast<double>(stats.traffic_total.written_bytes[c]);
    EXPECT_NEAR(written[c], total_written, 1e-9 * total_written + 1) << c;
    written_in_all += total_written;
  }
  EXPECT_GT(written_in_all, 0);
}

TEST(ServingWarningTest, ATokenizerWithMoreEntriesThanTheModelIsNamed) {
  const std::filesystem::path folder = std::filesystem::path(::testing::TempDir()) / "wide";
  std::filesystem::create_directories(folder);
  for (const auto& entry : std::filesystem::directory_iterator("tests/golden/dense")) {
    std::filesystem::copy_file(entry.path(), folder / entry.path().filename(),
                               std::filesystem::copy_options::overwrite_existing);
  }
  ServingOptions options;
  options.model_directory = folder.string();
  for (const int highest : {255, 256}) {
    std::ofstream(folder / "tokenizer.json")
        << R"({"version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null,)"
        << R"("post_processor": null, "decoder": null, "model": {"type": "BPE", "merges": [],)"
        << R"("vocab": {"a": 0, "b": )" << highest << "}}}";
    const auto serving = Serving::Create(options);
    ASSERT_TRUE(serving.ok()) << serving.status();
    const loader::ModelDescription& model = (*serving)->checkpoint().model;
    ASSERT_EQ(model.vocab_size, 256);
    ASSERT_EQ(model.warnings.size(), highest == 256 ? 1u : 0u);
    if (highest == 256) {
      EXPECT_EQ(model.warnings[0],
                "The tokenizer has ids up to 256, but the model's vocabulary has 256 entries; a "
                "text that needs an id beyond is refused.");
    }
  }
}

TEST(ServingErrorTest, AFolderWithoutAModelIsRefusedByName) {
  ServingOptions options;
  options.model_directory = "tests/golden/nothing_here";
  const absl::Status status = Serving::Create(options).status();
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.message().find("nothing_here"), std::string::npos) << status;
}

TEST(ServingErrorTest, OptionsThatMakeNoSenseAreRefusedByName) {
  ServingOptions options;
  options.model_directory = "tests/golden/dense";
  options.kv_block_tokens = 20;
  EXPECT_NE(Serving::Create(options).status().message().find("kv_block_tokens is 20"),
            std::string::npos);
  options.kv_block_tokens = 16;
  options.max_sequences = 0;
  EXPECT_NE(Serving::Create(options).status().message().find("max_sequences is 0"),
            std::string::npos)
      << Serving::Create(options).status();
}

}  // namespace
}  // namespace mneme
