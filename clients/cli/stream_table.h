// What `mneme demo` and `mneme load` print about streams.
#ifndef MNEME_CLIENTS_CLI_STREAM_TABLE_H_
#define MNEME_CLIENTS_CLI_STREAM_TABLE_H_

#include <string>
#include <vector>

#include "clients/cli/generate_report.h"
#include "clients/cpp/client.h"

namespace mneme::cli {

// One stream as its reader saw it.
struct StreamRun {
  absl::Status status;
  client::GenerateResult result;
  StreamClock clock;
};

// Times, rates and bytes per output token of streams that ran side by side for `seconds`.
std::string StreamTable(const std::vector<StreamRun>& runs, double seconds);

// "1.23 MB": three significant digits.
std::string HumanBytes(double bytes);

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_STREAM_TABLE_H_
