// `mneme demo --compare`: the two demo models side by side, served in alternating rounds.
#ifndef MNEME_CLIENTS_CLI_COMPARISON_H_
#define MNEME_CLIENTS_CLI_COMPARISON_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "clients/cli/model_flags.h"

namespace mneme::cli {

struct ComparisonOptions {
  ModelFlags flags;  // of both models; `model` is not read
  std::vector<std::string> directories;
  std::string heldout_path;  // texts, in whose losses the models are compared
  std::string seen_path;
  int32_t rounds = 5;  // each serves every model with every number of streams
  std::vector<int32_t> streams = {1, 8, 32};
  // Of each request. All prompts are token ids, the same for every model.
  int32_t prompt_tokens = 16;
  int32_t output_tokens = 128;
};

// What one model did with one number of streams, by round.
struct ServedRounds {
  std::vector<double> tokens_per_second;  // output tokens, all streams together
  std::vector<double> bytes_per_token;    // read, over output tokens, those for the prompts too
};

struct ComparedModel {
  std::string name;
  std::string architecture;
  std::string served_on;  // "2 x cpu avx512"
  int64_t parameters = 0;
  int64_t active_parameters = 0;
  double heldout_loss = 0;  // nats per token
  double seen_loss = 0;
  std::vector<ServedRounds> served;  // by `streams`
};

// progress is told what happens, a line at a time. Errors: those of loading, serving and texts;
// INVALID_ARGUMENT where vocabularies differ in size, since prompts would.
absl::StatusOr<std::vector<ComparedModel>> Compare(
    const ComparisonOptions& options, const std::function<void(const std::string&)>& progress);

// One column per model; of rounds their median, and the least and the most.
std::string ComparisonTable(const ComparisonOptions& options,
                            const std::vector<ComparedModel>& models);

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_COMPARISON_H_
