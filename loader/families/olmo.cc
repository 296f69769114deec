#include "loader/families/olmo.h"

#include <utility>

#include "loader/families/olmo_weights.h"
#include "loader/files/mapped_file.h"

namespace mneme::loader {
namespace {

// A trainer's whole config with long lists of data files stays far below.
constexpr int64_t kMaxConfigBytes = int64_t{4} << 20;

}  // namespace

absl::StatusOr<OlmoConfig> ReadOlmoConfig(const std::string& path,
                                          const std::set<std::string>& ignored) {
  const absl::StatusOr<std::string> text = ReadSmallFile(path, kMaxConfigBytes);
  if (!text.ok()) return text.status();
  return ParseOlmoConfig(*text, path, ignored);
}

absl::StatusOr<FamilyModel> InspectOlmo(const OlmoConfig& config, const TensorFiles& files,
                                        const std::string& where) {
  absl::StatusOr<WeightSources> weights = MapOlmoWeights(config, files, where);
  if (!weights.ok()) return weights.status();
  FamilyModel family;
  family.model = config.model;
  family.weights = *std::move(weights);
  return family;
}

}  // namespace mneme::loader
