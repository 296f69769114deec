#include "clients/cli/demo_model.h"

#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"

namespace mneme::cli {
namespace {

namespace fs = std::filesystem;

constexpr char kModel[] = "models/demo/ultramem";

bool HoldsModel(const fs::path& folder) {
  std::error_code error;
  return fs::is_regular_file(folder / kModel / "config.yaml", error);
}

}  // namespace

absl::StatusOr<std::string> FindDemoModel(const std::string& executable) {
  std::error_code error;
  std::vector<fs::path> binaries;
  if (executable.find('/') != std::string::npos) {
    binaries.push_back(fs::absolute(executable, error));
  }
  if (const fs::path real = fs::read_symlink("/proc/self/exe", error); !error) {
    binaries.push_back(real);
  }
  for (const fs::path& binary : binaries) {
    const fs::path runfiles = fs::path(binary.string() + ".runfiles") / "mneme";
    if (HoldsModel(runfiles)) return (runfiles / kModel).string();
    for (fs::path folder = binary.parent_path(); folder != folder.root_path();
         folder = folder.parent_path()) {
      if (HoldsModel(folder)) return (folder / kModel).string();
    }
  }
  if (HoldsModel(".")) return kModel;
  return absl::NotFoundError(
      absl::StrCat("the demo model (", kModel, ") lies neither beside nor above the binary ",
                   binaries.empty() ? executable : binaries.back().string(),
                   ", nor in the current folder; name a model with --model"));
}

}  // namespace mneme::cli
