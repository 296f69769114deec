// A native checkpoint, opened: its manifest, its shards, and where each weight lies in them.
#ifndef MNEME_LOADER_NATIVE_NATIVE_CHECKPOINT_H_
#define MNEME_LOADER_NATIVE_NATIVE_CHECKPOINT_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "loader/checkpoint/weight_source.h"
#include "loader/model/model_description.h"
#include "loader/native/manifest.h"
#include "loader/native/native_files.h"

namespace mneme::loader {

struct NativeCheckpoint {
  Manifest manifest;
  std::shared_ptr<const NativeFiles> files;
  WeightSources weights;
};

// Whether `directory` has a manifest that is ours (HasNativeManifest).
bool IsNative(const std::string& directory);

// Reads manifest and headers, and no weight. Errors are those of Manifest::Parse and
// NativeFiles::Open, and: FAILED_PRECONDITION where the copied config is not the one that was
// converted; INVALID_ARGUMENT for a weight of an unknown name, and for one whose packing or dtype
// this build does not serve. All name the file and the values. REQUIRES: IsNative.
absl::StatusOr<NativeCheckpoint> OpenNative(const std::string& directory);

// INVALID_ARGUMENT naming manifest, weight and both shapes where the manifest's weights are not
// those of `model`, which its config describes: one is missing, of another shape or one too many.
absl::Status CheckWeights(const std::string& directory, const Manifest& manifest,
                          const ModelDescription& model);

// FAILED_PRECONDITION where the folder, which has no manifest, has what a conversion writes: with
// the journal of one that has not come to its end it names the command that ends it, with shards
// alone it says that they are of no use.
absl::Status CheckUnfinished(const std::string& directory);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_NATIVE_NATIVE_CHECKPOINT_H_
