#include "clients/cli/perplexity.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace mneme::cli {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

std::string Error(const PerplexityOptions& options,
                  absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
  const absl::Status status = Perplexity(options).status();
  EXPECT_EQ(status.code(), code) << status;
  return std::string(status.message());
}

TEST(NegativeLogProbabilityTest, IsTheLogSoftmax) {
  const float logits[] = {1.0f, 2.0f, 3.0f};
  const double sum = std::exp(1.0) + std::exp(2.0) + std::exp(3.0);
  for (int i = 0; i < 3; ++i) {
    EXPECT_NEAR(NegativeLogProbability(logits, i), std::log(sum) - (i + 1), 1e-12);
  }
}

TEST(NegativeLogProbabilityTest, LargeLogitsDoNotOverflow) {
  const float logits[] = {10000.0f, 10000.0f};
  EXPECT_NEAR(NegativeLogProbability(logits, 0), std::log(2.0), 1e-9);
}

TEST(PerplexityTest, FilesThatCannotServeAreNamed) {
  PerplexityOptions options;
  options.model.model_directory = "models/demo/ultramem";
  options.text_path = "no/such/file.txt";
  EXPECT_THAT(Error(options, absl::StatusCode::kNotFound), HasSubstr("no/such/file.txt"));
  options.text_path = "models/demo/ultramem";
  EXPECT_THAT(Error(options), HasSubstr("models/demo/ultramem"));
  options.text_path = "models/demo/ultramem/config.yaml";
  options.window = 5000;
  EXPECT_THAT(Error(options), HasSubstr("config.yaml: "));
  EXPECT_THAT(Error(options), HasSubstr(" do not fill one window of 5000 and a token after it"));
  options.text_path = "models/demo/testdata/heldout.txt";
  EXPECT_EQ(Error(options), "window: 5000 tokens, but the context holds 1024");
}

// The last token of the text is in no prompt.
TEST(PerplexityTest, ATokenThatTheModelLacksIsNamed) {
  const fs::path folder = fs::path(testing::TempDir()) / "far_token";
  fs::create_directories(folder);
  const fs::path model = fs::absolute("models/demo/olmoe");
  for (const char* name : {"config.json", "model.safetensors"}) {
    fs::remove(folder / name);
    fs::create_symlink(fs::canonical(model / name), folder / name);
  }
  nlohmann::json tokenizer = nlohmann::json::parse(std::ifstream(model / "tokenizer.json"));
  nlohmann::json token = tokenizer["added_tokens"][0];
  token["content"] = "<far>";
  token["id"] = 5000;
  tokenizer["added_tokens"].push_back(token);
  tokenizer["model"]["vocab"]["<far>"] = 5000;
  std::ofstream(folder / "tokenizer.json") << tokenizer;
  std::ofstream(folder / "text.txt") << "\n<far>";
  PerplexityOptions options;
  options.model.model_directory = folder;
  options.text_path = folder / "text.txt";
  options.window = 1;
  EXPECT_EQ(Error(options), options.text_path +
                                ": token 1 of the text has id 5000, which the "
                                "model's vocabulary of 4096 does not have");
}

}  // namespace
}  // namespace mneme::cli
