#include "clients/cli/evaluation.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/device/host_memory.h"
#include "loader/safetensors/safetensors.h"

namespace mneme::cli {
namespace {

using loader::StoredTensor;
using testing::HasSubstr;
namespace fs = std::filesystem;

struct Ids {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<int64_t> ids;
};

// The demo model of 4,096 ids and 1,024 positions, asked for what `tensors` hold.
class EvaluationTest : public ::testing::Test {
 protected:
  EvaluationTest() : folder_(fs::path(testing::TempDir()) / "evaluation") {
    fs::create_directories(folder_);
    options_.model.model_directory = "models/demo/olmoe";
    options_.ids_path = folder_ / "in.safetensors";
    options_.out_path = folder_ / "out.safetensors";
    fs::remove(options_.out_path);
  }

  absl::Status Run(const std::vector<Ids>& tensors) {
    std::vector<StoredTensor> stored;
    for (const Ids& ids : tensors) {
      StoredTensor& tensor = stored.emplace_back();
      tensor.name = ids.name;
      tensor.dtype = loader::StoredDType::kI64;
      tensor.shape = ids.shape;
      tensor.bytes = {reinterpret_cast<const uint8_t*>(ids.ids.data()), ids.ids.size() * 8};
    }
    const absl::Status written = loader::WriteSafetensors(options_.ids_path, stored, {});
    EXPECT_TRUE(written.ok()) << written;
    return Evaluate(options_);
  }

  std::string Error(const std::vector<Ids>& tensors) {
    const absl::Status status = Run(tensors);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_FALSE(fs::exists(options_.out_path));
    return std::string(status.message());
  }

  const fs::path folder_;
  EvalOptions options_;
};

TEST_F(EvaluationTest, WritesLogitsAndGreedyTokens) {
  options_.greedy_tokens = 3;
  const absl::Status status = Run({{"input_ids", {2, 2}, {1, 2, 3, 4}}});
  ASSERT_TRUE(status.ok()) << status;
  const auto out = loader::SafetensorsFile::Open(options_.out_path);
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_EQ((*out)->tensors().at("logits").shape, (std::vector<int64_t>{2, 2, 4096}));
  EXPECT_EQ((*out)->tensors().at("greedy").shape, (std::vector<int64_t>{2, 3}));
}

TEST_F(EvaluationTest, ErrorsNameFileTensorAndValues) {
  const std::string file = options_.ids_path;
  EXPECT_EQ(Error({{"input_ids", {2, 2}, {1, 2, 4096, 4}}}),
            file + ": input_ids: id 4096 of sequence 1 at position 0 is not in [0, 4096)");
  EXPECT_EQ(Error({{"input_ids", {1, 1025}, std::vector<int64_t>(1025, 1)}}),
            file + ": input_ids: sequences of 1025 tokens, but the context holds 1024");
  EXPECT_EQ(Error({{"input_ids", {1, 1}, {-1}}}), file + ": input_ids: -1 is no token id");
  EXPECT_EQ(Error({{"inputs", {1, 1}, {1}}}), file + ": has no tensor input_ids");
  options_.greedy_tokens = 1023;
  EXPECT_EQ(Error({{"input_ids", {1, 1}, {1}}, {"greedy_prompt", {1, 2}, {1, 2}}}),
            file +
                ": greedy_prompt: sequences of 2 tokens and 1023 greedy ones, but the context "
                "holds 1024");
}

TEST_F(EvaluationTest, WhatMemoryDoesNotHoldIsNotBegun) {
  constexpr int64_t kTokens = 8'000'000;  // 131 GB of logits
  if (kernels::AvailableHostMemory() > int64_t{100'000'000'000}) GTEST_SKIP() << "it is held";
  const absl::Status status = Run({{"input_ids", {kTokens, 1}, std::vector<int64_t>(kTokens, 1)}});
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("input_ids: what 8000000 tokens give needs 131 GB of memory; "));
}

TEST_F(EvaluationTest, GreedyPromptsAreReadWhereTheyAreContinued) {
  const std::vector<Ids> tensors = {{"input_ids", {1, 1}, {1}}, {"greedy_prompt", {1}, {1}}};
  EXPECT_TRUE(Run(tensors).ok());
  fs::remove(options_.out_path);
  options_.greedy_tokens = 1;
  EXPECT_THAT(Error(tensors), HasSubstr("greedy_prompt: expected [sequences, tokens] I64"));
}

TEST_F(EvaluationTest, WhatCannotBeWrittenIsSaidBeforeTheModelIsLoaded) {
  options_.model.model_directory = "no/such/model";
  options_.out_path = folder_;
  EXPECT_EQ(Run({{"input_ids", {1, 1}, {1}}}).message(), folder_.string() + ": is a folder");
  options_.out_path = folder_ / "nowhere" / "out.safetensors";
  const absl::Status status = Run({{"input_ids", {1, 1}, {1}}});
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("out.safetensors: cannot be written"));
}

}  // namespace
}  // namespace mneme::cli
