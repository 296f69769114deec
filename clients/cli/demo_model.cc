#include "clients/cli/demo_model.h"

#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"

namespace mneme::cli {
namespace {

namespace fs = std::filesystem;

constexpr char kFolder[] = "models/demo";

}  // namespace

absl::StatusOr<std::string> FindDemo(const std::string& name, const std::string& executable) {
  std::error_code error;
  const fs::path wanted = fs::path(kFolder) / name;
  const auto holds = [&](const fs::path& folder) {
    return fs::is_directory(folder / wanted, error);
  };
  std::vector<fs::path> binaries;
  if (executable.find('/') != std::string::npos) {
    binaries.push_back(fs::absolute(executable, error));
  }
  if (const fs::path real = fs::read_symlink("/proc/self/exe", error); !error) {
    binaries.push_back(real);
  }
  for (const fs::path& binary : binaries) {
    const fs::path runfiles = fs::path(binary.string() + ".runfiles") / "mneme";
    if (holds(runfiles)) return (runfiles / wanted).string();
    for (fs::path folder = binary.parent_path(); folder != folder.root_path();
         folder = folder.parent_path()) {
      if (holds(folder)) return (folder / wanted).string();
    }
  }
  if (holds(".")) return wanted.string();
  return absl::NotFoundError(
      absl::StrCat("the demo's ", wanted.string(), " lies neither beside nor above the binary ",
                   binaries.empty() ? executable : binaries.back().string(),
                   ", nor in the current folder; name a model with --model"));
}

absl::StatusOr<std::string> ResolveModel(const std::string& model, const std::string& executable) {
  if (model.empty()) return FindDemo(kDemoModel, executable);
  if (model != kDemoModel && model != kMoeDemoModel) return model;
  return FindDemo(model, executable);
}

}  // namespace mneme::cli
