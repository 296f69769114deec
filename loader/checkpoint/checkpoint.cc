#include "loader/checkpoint/checkpoint.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "loader/families/hf_config.h"
#include "loader/families/hf_weights.h"
#include "loader/families/olmo.h"
#include "loader/files/mapped_file.h"
#include "loader/native/native_checkpoint.h"
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

// The model that a config describes, whatever tensors there are.
absl::StatusOr<ModelDescription> ReadModelConfig(const std::string& path,
                                                 const InspectOptions& options) {
  if (path.ends_with(".yaml")) {
    absl::StatusOr<OlmoConfig> olmo = ReadOlmoConfig(path, options.ignored_config_keys);
    if (!olmo.ok()) return olmo.status();
    return std::move(olmo->model);
  }
  const absl::StatusOr<std::string> text = ReadSmallFile(path, kMaxHfConfigBytes);
  if (!text.ok()) return text.status();
  return ParseHfConfig(*text, path, options.ignored_config_keys);
}

absl::StatusOr<FamilyModel> InspectHfFolder(const std::string& config_path,
                                            const InspectOptions& options, Checkpoint* checkpoint) {
  const absl::StatusOr<ModelDescription> model = ReadModelConfig(config_path, options);
  if (!model.ok()) return model.status();
  absl::StatusOr<OpenFiles> opened = OpenHfTensors(checkpoint->directory);
  if (!opened.ok()) return opened.status();
  checkpoint->files = std::move(opened->files);
  return MapHfWeights(*model, *checkpoint->files, opened->path);
}

bool SameTensor(const WeightSources& weights, const WeightId& a, const WeightId& b) {
  const auto first = weights.find(a);
  const auto second = weights.find(b);
  return first != weights.end() && second != weights.end() && !first->second.parts.empty() &&
         !second->second.parts.empty() &&
         first->second.parts[0].tensor == second->second.parts[0].tensor;
}

absl::StatusOr<FamilyModel> InspectNativeFolder(Checkpoint* checkpoint) {
  absl::StatusOr<NativeCheckpoint> native = OpenNative(checkpoint->directory);
  if (!native.ok()) return native.status();
  // And what the conversion was told to ignore.
  InspectOptions& both = checkpoint->options;
  both.ignored_config_keys.insert(native->manifest.ignored_config_keys.begin(),
                                  native->manifest.ignored_config_keys.end());
  const std::string& config = native->manifest.config;
  absl::StatusOr<ModelDescription> model =
      ReadModelConfig(absl::StrCat(checkpoint->directory, "/", config), both);
  if (!model.ok()) return model.status();
  // Whoever packs or runs them reads as much as the model says, whatever a manifest says.
  absl::Status status = CheckWeights(checkpoint->directory, native->manifest, *model);
  if (!status.ok()) return status;
  checkpoint->texts = {config, kManifestName};
  checkpoint->files = std::move(native->files);
  // In the Hugging Face layout that is for the tensors to say.
  model->tied_head = SameTensor(native->weights, {Role::kHead}, {Role::kEmbedding});
  return FamilyModel{.model = *std::move(model), .weights = std::move(native->weights)};
}

// What the folder is, and its tensors.
absl::StatusOr<FamilyModel> InspectFolder(const InspectOptions& options, Checkpoint* checkpoint) {
  const std::string& directory = checkpoint->directory;
  if (IsNative(directory)) return InspectNativeFolder(checkpoint);
  if (absl::Status status = CheckUnfinished(directory); !status.ok()) return status;
  for (const char* name : {"config.yaml", "config.json"}) {
    const std::string path = absl::StrCat(directory, "/", name);
    if (!FileExists(path)) continue;
    checkpoint->texts = {name};
    absl::StatusOr<FileState> state = ReadFileState(path);
    if (!state.ok()) return state.status();
    checkpoint->config_state = *std::move(state);
    return path.ends_with(".yaml") ? InspectOlmoFolder(path, options, checkpoint)
                                   : InspectHfFolder(path, options, checkpoint);
  }
  return absl::NotFoundError(absl::StrCat(directory, FileExists(directory)
                                                         ? ": has no config.yaml and no config.json"
                                                         : ": no such folder"));
}

}  // namespace

absl::StatusOr<Checkpoint> InspectCheckpoint(const std::string& directory,
                                             const InspectOptions& options) {
  Checkpoint checkpoint;
  checkpoint.directory = directory;
  checkpoint.options = options;
  absl::StatusOr<FamilyModel> family = InspectFolder(options, &checkpoint);
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
