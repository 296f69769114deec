#include "clients/cli/checkpoint_report.h"

#include <filesystem>

namespace mneme::cli {
namespace {

using loader::Role;

// Null for weights that are computed at load: the tensors they come from are counted by themselves.
const char* ClassOf(Role role) {
  switch (role) {
    case Role::kRopeCos:
    case Role::kRopeSin:
    case Role::kMemoryKeyInverseNorm:
    case Role::kMemoryKeyMean:
      return nullptr;
    case Role::kEmbedding:
    case Role::kHead:
      return "embedding";
    case Role::kMemoryKeys:
    case Role::kMemoryKeysNormWeight:
    case Role::kMemoryKeysNormBias:
    case Role::kMemoryCores:
      return "keys";
    case Role::kMemoryTable:
      return "value_rows";
    case Role::kMemoryShuffle:
    case Role::kMemoryRowDirection:
    case Role::kMemoryColumnDirection:
      return "buffers";
    default:
      return "dense";
  }
}

void Count(const loader::StoredTensor& tensor, TensorCount* count) {
  ++count->tensors;
  count->elements += tensor.elements();
  count->bytes += static_cast<int64_t>(tensor.bytes.size());
}

}  // namespace

CheckpointReport ReportOn(const loader::Checkpoint& checkpoint) {
  std::map<std::string, const char*> class_of_tensor;
  for (const auto& [id, source] : checkpoint.weights) {
    const char* name = ClassOf(id.role);
    if (name == nullptr) continue;
    for (const loader::WeightSource::Part& part : source.parts) {
      if (part.tensor != nullptr) class_of_tensor.emplace(part.tensor->name, name);
    }
  }
  CheckpointReport report;
  for (const auto& [name, tensor] : checkpoint.files->tensors()) {
    const auto found = class_of_tensor.find(name);
    const std::string tensor_class = found == class_of_tensor.end() ? "unused" : found->second;
    Count(tensor, &report.classes[tensor_class]);
    Count(tensor, &report.dtypes[loader::StoredDTypeName(tensor.dtype)]);
    Count(tensor, &report.total);
    if (tensor_class != "buffers") report.parameters += tensor.elements();
  }
  return report;
}

std::string NameOf(const std::string& directory) {
  std::filesystem::path path = std::filesystem::path(directory).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  if (path.filename() == "." || path.filename() == "..") {
    std::error_code error;
    path = std::filesystem::canonical(directory, error);
  }
  return path.filename().string();
}

}  // namespace mneme::cli
