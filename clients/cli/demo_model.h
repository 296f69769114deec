// Where the demo models lie, one of which is the default of `serve` and `demo`.
#ifndef MNEME_CLIENTS_CLI_DEMO_MODEL_H_
#define MNEME_CLIENTS_CLI_DEMO_MODEL_H_

#include <string>

#include "absl/status/statusor.h"

namespace mneme::cli {

inline constexpr char kDemoModel[] = "ultramem";
inline constexpr char kMoeDemoModel[] = "olmoe";
// Texts that they were measured on.
inline constexpr char kDemoTexts[] = "testdata";

// The folder models/demo/`name`, one of these, looked for in the binary's Bazel runfiles and in
// every folder above it, first of the binary as it was called, then as it really lies; then in the
// current folder. executable: argv[0]. NOT_FOUND names where it was looked for.
absl::StatusOr<std::string> FindDemo(const std::string& name, const std::string& executable);

// Where `model` is the name of a demo model: that one's folder, whatever lies here ("./olmoe" names
// a folder); where it is empty: the default one's; else `model` itself.
absl::StatusOr<std::string> ResolveModel(const std::string& model, const std::string& executable);

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_DEMO_MODEL_H_
