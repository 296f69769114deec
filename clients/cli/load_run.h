// A load on a server: many requests, a fixed number at a time, each measured by its reader.
#ifndef MNEME_CLIENTS_CLI_LOAD_RUN_H_
#define MNEME_CLIENTS_CLI_LOAD_RUN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "clients/cli/stream_table.h"
#include "clients/cpp/client.h"

namespace mneme::cli {

struct LoadOptions {
  int32_t streams = 1;   // requests at a time
  int32_t requests = 8;  // in all
  int32_t prompt_tokens = 64;
  int32_t output_tokens = 256;
  uint64_t seed = 1;  // of the prompts: the same seed, the same prompts
};

struct LoadResult {
  std::vector<StreamRun> runs;
  double seconds = 0;
  // The server's counters before and after.
  v1::GetStatsReply before;
  v1::GetStatsReply after;
};

// Runs the load: greedy, prompts of random token ids that no two requests share, an eos does not
// end a request. The first error of a request ends it.
absl::StatusOr<LoadResult> RunLoad(client::Client* client, const LoadOptions& options);

// Random ids in [1, vocab_size), the same for the same seed and request.
std::vector<int32_t> LoadPrompt(const LoadOptions& options, int32_t request, int32_t vocab_size);

// The streams' table, and what the server says of its steps.
std::string LoadTable(const LoadResult& result);

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_LOAD_RUN_H_
