// How long a server takes from its exec to the first token that a client gets.
#ifndef MNEME_CLIENTS_CLI_STARTUP_BENCH_H_
#define MNEME_CLIENTS_CLI_STARTUP_BENCH_H_

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mneme::cli {

struct StartupOptions {
  std::string executable;              // `mneme`
  std::string model;                   // its folder
  std::vector<std::string> arguments;  // of `serve`, beside --model and --listen
  int32_t runs = 5;
};

// Since the server's process was started, in seconds.
struct StartupRun {
  double listening = 0;    // it said so
  double first_token = 0;  // a request for one has it
  double step_bytes = 0;   // that the request's step read, activations not counted
  int32_t ranks = 1;       // of the server
  std::string phases;      // what the server says of its start
};

// Starts a server on a free port of this host, asks it for one token, and ends it. UNAVAILABLE with
// what it said on standard error when it ends before.
absl::StatusOr<StartupRun> MeasureStartup(const StartupOptions& options);

// The folder `folder`/native with a made-up model of 4 GB (MadeUpSize), converted there from
// `folder`/source; as it is where an earlier call has made it. Errors name the file.
absl::StatusOr<std::string> MakeStartupModel(const std::string& folder, std::ostream& out);

// Reads the folder's files once, so that they are in the page cache as far as it holds them; the
// bytes they have.
absl::StatusOr<int64_t> WarmFiles(const std::string& folder);

// Warms the files, then starts so many servers one after the other, and prints the median and the
// worst of the times, the phases of the median run, and how long the first token's step would take
// that read its bytes as fast as the machine does.
absl::Status BenchStartup(const StartupOptions& options, std::ostream& out);

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_STARTUP_BENCH_H_
