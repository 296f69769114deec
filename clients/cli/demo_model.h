// Where the demo model lies: the default of `serve` and `demo`.
#ifndef MNEME_CLIENTS_CLI_DEMO_MODEL_H_
#define MNEME_CLIENTS_CLI_DEMO_MODEL_H_

#include <string>

#include "absl/status/statusor.h"

namespace mneme::cli {

// The folder models/demo/ultramem, looked for in the binary's Bazel runfiles and in every folder
// above it, first of the binary as it was called, then as it really lies; then in the current
// folder. executable: argv[0]. NOT_FOUND names where it was looked for.
absl::StatusOr<std::string> FindDemoModel(const std::string& executable);

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_DEMO_MODEL_H_
