#include "clients/cli/checkpoint_report.h"

#include <algorithm>
#include <filesystem>

namespace mneme::cli {
namespace {

using loader::Role;

// Of a converted checkpoint: what would otherwise be computed at load.
constexpr char kComputed[] = "computed";

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
    case Role::kExpertGate:
    case Role::kExpertUp:
    case Role::kExpertDown:
      return "experts";
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

void Count(const loader::StoredTensor& tensor, int64_t elements, TensorCount* count) {
  ++count->tensors;
  count->elements += elements;
  count->bytes += static_cast<int64_t>(tensor.bytes.size());
}

// What a token reads of the value tables.
int64_t SelectedElements(const loader::ModelDescription& model) {
  if (!model.memory.has_value()) return 0;
  const loader::MemoryDescription& memory = *model.memory;
  const auto computed = std::count_if(memory.layers.begin(), memory.layers.end(),
                                      [](const auto& layer) { return !layer.lost; });
  return computed * memory.heads * memory.top_k * (memory.pre_value_dim + memory.value_dim);
}

int64_t ActiveParameters(const loader::ModelDescription& model, const CheckpointReport& report) {
  int64_t active = 0;
  for (const auto& [name, count] : report.classes) {
    if (name == "embedding" && !model.tied_head) {
      // The head's rows, and one of the embedding's.
      active += count.elements - (model.embedding_size - 1) * model.dim;
    } else if (name == "experts" && model.moe.has_value()) {
      active += count.elements / model.moe->experts * model.moe->top_k;
    } else if (name == "value_rows") {
      active += SelectedElements(model);
    } else if (name != "buffers" && name != "computed" && name != "unused") {
      active += count.elements;
    }
  }
  return active;
}

}  // namespace

CheckpointReport ReportOn(const loader::Checkpoint& checkpoint) {
  std::map<std::string, const char*> class_of_tensor;
  std::map<std::string, int64_t> elements_of_padded;  // of tensors whose rows end in padding
  for (const auto& [id, source] : checkpoint.weights) {
    if (source.computed != nullptr) class_of_tensor.emplace(source.computed->name, kComputed);
    const char* name = ClassOf(id.role);
    if (name == nullptr) continue;
    for (const loader::WeightSource::Part& part : source.parts) {
      if (part.tensor == nullptr) continue;
      class_of_tensor.emplace(part.tensor->name, name);
      if (part.stride != 0) elements_of_padded[part.tensor->name] += part.rows * part.cols;
    }
  }
  CheckpointReport report;
  for (const auto& [name, tensor] : checkpoint.files->tensors()) {
    const auto found = class_of_tensor.find(name);
    const std::string tensor_class = found == class_of_tensor.end() ? "unused" : found->second;
    const auto padded = elements_of_padded.find(name);
    const int64_t elements =
        padded == elements_of_padded.end() ? tensor.elements() : padded->second;
    Count(tensor, elements, &report.classes[tensor_class]);
    Count(tensor, elements, &report.dtypes[loader::StoredDTypeName(tensor.dtype)]);
    Count(tensor, elements, &report.total);
    if (tensor_class != "buffers" && tensor_class != kComputed) report.parameters += elements;
  }
  report.active_parameters = ActiveParameters(checkpoint.model, report);
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
