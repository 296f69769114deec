#include "loader/checkpoint/checkpoint.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "loader/families/olmo.h"
#include "loader/files/mapped_file.h"
#include "loader/native/native_checkpoint.h"
#include "loader/safetensors/safetensors.h"
#include "loader/torch_pickle/torch_checkpoint.h"

namespace mneme::loader {
namespace {

struct OpenFiles {
  std::string path;
  std::shared_ptr<const TensorFiles> files;
};

// The state dict of an OLMo checkpoint. With both files model.safetensors wins.
absl::StatusOr<OpenFiles> OpenOlmoTensors(const std::string& directory) {
  const std::string safetensors = directory + "/model.safetensors";
  const std::string pickle = directory + "/model.pt";
  if (FileExists(safetensors)) {
    auto file = SafetensorsFile::Open(safetensors);
    if (!file.ok()) return file.status();
    return OpenFiles{safetensors, *std::move(file)};
  }
  if (FileExists(pickle)) {
    auto file = TorchCheckpointFile::Open(pickle);
    if (!file.ok()) return file.status();
    return OpenFiles{pickle, *std::move(file)};
  }
  return absl::NotFoundError(
      absl::StrCat(directory, ": has neither model.safetensors nor model.pt"));
}

absl::StatusOr<Checkpoint> InspectNative(const std::string& directory) {
  absl::StatusOr<NativeCheckpoint> native = OpenNative(directory);
  if (!native.ok()) return native.status();
  const std::string& config = native->manifest.config;
  if (config != "config.yaml") {
    return absl::InvalidArgumentError(
        absl::StrCat(directory, "/", config, ": is the config of no family that is served"));
  }
  absl::StatusOr<OlmoConfig> olmo = ReadOlmoConfig(absl::StrCat(directory, "/", config));
  if (!olmo.ok()) return olmo.status();
  Checkpoint checkpoint;
  checkpoint.directory = directory;
  checkpoint.texts = {config, kManifestName};
  checkpoint.model = std::move(olmo->model);
  checkpoint.weights = std::move(native->weights);
  checkpoint.files = std::move(native->files);
  return checkpoint;
}

}  // namespace

absl::StatusOr<Checkpoint> InspectCheckpoint(const std::string& directory) {
  if (IsNative(directory)) return InspectNative(directory);
  if (absl::Status status = CheckUnfinished(directory); !status.ok()) return status;
  const std::string config_path = directory + "/config.yaml";
  if (!FileExists(config_path)) {
    return absl::NotFoundError(absl::StrCat(
        directory, FileExists(directory) ? ": has no config.yaml" : ": no such folder"));
  }
  const absl::StatusOr<OlmoConfig> config = ReadOlmoConfig(config_path);
  if (!config.ok()) return config.status();
  absl::StatusOr<OpenFiles> opened = OpenOlmoTensors(directory);
  if (!opened.ok()) return opened.status();
  absl::StatusOr<FamilyModel> family = InspectOlmo(*config, *opened->files, opened->path);
  if (!family.ok()) return family.status();
  Checkpoint checkpoint;
  checkpoint.directory = directory;
  checkpoint.model = std::move(family->model);
  checkpoint.weights = std::move(family->weights);
  checkpoint.files = std::move(opened->files);
  return checkpoint;
}

}  // namespace mneme::loader
