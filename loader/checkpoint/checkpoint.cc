#include "loader/checkpoint/checkpoint.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "loader/families/hf_config.h"
#include "loader/families/hf_weights.h"
#include "loader/families/olmo.h"
#include "loader/files/mapped_file.h"
#include "loader/safetensors/safetensors.h"
#include "loader/safetensors/sharded_safetensors.h"
#include "loader/torch_pickle/torch_checkpoint.h"

namespace mneme::loader {
namespace {

// Published ones have a few thousand bytes.
constexpr int64_t kMaxHfConfigBytes = int64_t{4} << 20;

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

// Of a Hugging Face checkpoint. With both forms the single file wins, as with its own library.
absl::StatusOr<OpenFiles> OpenHfTensors(const std::string& directory) {
  const std::string single = directory + "/model.safetensors";
  if (FileExists(single)) {
    auto file = SafetensorsFile::Open(single);
    if (!file.ok()) return file.status();
    return OpenFiles{single, *std::move(file)};
  }
  const std::string index = absl::StrCat(directory, "/", kIndexFile);
  if (!FileExists(index)) {
    return absl::NotFoundError(
        absl::StrCat(directory, ": has neither model.safetensors nor ", kIndexFile));
  }
  auto files = ShardedSafetensors::Open(directory);
  if (!files.ok()) return files.status();
  return OpenFiles{index, *std::move(files)};
}

// What `file` of the directory is about, and its tensors.
absl::StatusOr<FamilyModel> InspectOlmoFolder(const std::string& config_path,
                                              const InspectOptions& options,
                                              Checkpoint* checkpoint) {
  const absl::StatusOr<OlmoConfig> config =
      ReadOlmoConfig(config_path, options.ignored_config_keys);
  if (!config.ok()) return config.status();
  absl::StatusOr<OpenFiles> opened = OpenOlmoTensors(checkpoint->directory);
  if (!opened.ok()) return opened.status();
  checkpoint->files = std::move(opened->files);
  return InspectOlmo(*config, *checkpoint->files, opened->path);
}

absl::StatusOr<FamilyModel> InspectHfFolder(const std::string& config_path,
                                            const InspectOptions& options, Checkpoint* checkpoint) {
  const absl::StatusOr<std::string> text = ReadSmallFile(config_path, kMaxHfConfigBytes);
  if (!text.ok()) return text.status();
  const absl::StatusOr<ModelDescription> model =
      ParseHfConfig(*text, config_path, options.ignored_config_keys);
  if (!model.ok()) return model.status();
  absl::StatusOr<OpenFiles> opened = OpenHfTensors(checkpoint->directory);
  if (!opened.ok()) return opened.status();
  checkpoint->files = std::move(opened->files);
  return MapHfWeights(*model, *checkpoint->files, opened->path);
}

}  // namespace

absl::StatusOr<Checkpoint> InspectCheckpoint(const std::string& directory,
                                             const InspectOptions& options) {
  Checkpoint checkpoint;
  checkpoint.directory = directory;
  checkpoint.options = options;
  const bool olmo = FileExists(directory + "/config.yaml");
  checkpoint.config_file = olmo ? "config.yaml" : "config.json";
  const std::string config_path = absl::StrCat(directory, "/", checkpoint.config_file);
  if (!FileExists(config_path)) {
    return absl::NotFoundError(
        absl::StrCat(directory, FileExists(directory) ? ": has no config.yaml and no config.json"
                                                      : ": no such folder"));
  }
  absl::StatusOr<FamilyModel> family = olmo ? InspectOlmoFolder(config_path, options, &checkpoint)
                                            : InspectHfFolder(config_path, options, &checkpoint);
  if (!family.ok()) return family.status();
  checkpoint.model = std::move(family->model);
  checkpoint.weights = std::move(family->weights);
  if (absl::Status status =
          ReadGenerationConfig(directory, &checkpoint.model, &checkpoint.generation);
      !status.ok()) {
    return status;
  }
  return checkpoint;
}

}  // namespace mneme::loader
