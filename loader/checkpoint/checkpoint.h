// A checkpoint that has been inspected: what the model is, and where in which mapped file each of
// its weights lies. Nothing is copied yet; loader/pack does that once a plan says what each rank
// wants.
#ifndef MNEME_LOADER_CHECKPOINT_CHECKPOINT_H_
#define MNEME_LOADER_CHECKPOINT_CHECKPOINT_H_

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "loader/checkpoint/stored_tensor.h"
#include "loader/checkpoint/weight_source.h"
#include "loader/families/generation_config.h"
#include "loader/files/file_state.h"
#include "loader/model/model_description.h"
#include "loader/model/weight_role.h"

namespace mneme::loader {

struct InspectOptions {
  // Keys of the config that would be refused as unknown and are not to be looked at.
  std::set<std::string> ignored_config_keys;
};

struct Checkpoint {
  std::string directory;
  InspectOptions options;  // it was inspected with
  // Files of the folder, beside those of tensors, whose texts say what the model is: its config,
  // a native checkpoint's manifest.
  std::vector<std::string> texts = {"config.yaml"};
  // Of its config, before it was read; none where it was not read from a file.
  std::optional<FileState> config_state = {};
  ModelDescription model;
  GenerationDefaults generation;  // from its generation_config.json, if there is one
  WeightSources weights;
  std::shared_ptr<const TensorFiles> files;
};

// Reads the config and the headers of the checkpoint in `directory`, checks every tensor's
// presence, dtype and shape, and that shuffles are permutations, and finds every weight. A folder
// of the OLMo training format (config.yaml), of Hugging Face's (config.json), or a native
// checkpoint (a folder with a manifest, docs/native-format.md), of which no weight is read, so
// shuffles are taken as they are. What it returns has every weight of ModelWeights(model), of the
// shapes listed there, and no other. Errors (INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION) name
// the file, the tensor or field, and the values.
absl::StatusOr<Checkpoint> InspectCheckpoint(const std::string& directory,
                                             const InspectOptions& options = {});

}  // namespace mneme::loader

#endif  // MNEME_LOADER_CHECKPOINT_CHECKPOINT_H_
