#include "clients/cli/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>

namespace mneme::cli {
namespace {

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
  EXPECT_EQ(Perplexity(options).status().message(), "cannot read no/such/file.txt");
  options.text_path = "models/demo/ultramem/config.yaml";
  options.window = 5000;
  EXPECT_EQ(Perplexity(options).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace mneme::cli
