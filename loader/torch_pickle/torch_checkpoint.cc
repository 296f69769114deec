#include "loader/torch_pickle/torch_checkpoint.h"

#include <cstring>
#include <string_view>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "loader/text/text.h"
#include "loader/torch_pickle/pickle_machine.h"
#include "loader/torch_pickle/zip_archive.h"

namespace mneme::loader {
namespace {

using Records = std::map<std::string, ZipRecord>;

constexpr char kPickleSuffix[] = "/data.pkl";

// The folder of the one record `*/data.pkl`.
absl::StatusOr<std::string> FindRoot(const Records& records) {
  const std::string* found = nullptr;
  for (const auto& [name, record] : records) {
    if (!absl::EndsWith(name, kPickleSuffix)) continue;
    if (found != nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("two pickles, ", Quote(*found), " and ", Quote(name)));
    }
    found = &name;
  }
  if (found == nullptr) return absl::InvalidArgumentError("no record */data.pkl");
  return found->substr(0, found->size() - (sizeof kPickleSuffix - 1));
}

absl::StatusOr<std::span<const uint8_t>> StoredBytes(const Records& records,
                                                     const std::string& name) {
  const auto it = records.find(name);
  if (it == records.end()) {
    return absl::InvalidArgumentError(absl::StrCat("record ", Quote(name), " is missing"));
  }
  if (it->second.method != 0 || it->second.encrypted) {
    return absl::InvalidArgumentError(absl::StrCat(
        "record ", Quote(name), " is ",
        it->second.encrypted ? std::string("encrypted")
                             : absl::StrCat("compressed (method ", it->second.method, ")"),
        "; only stored records are read"));
  }
  return it->second.bytes;
}

// Newer versions of torch say in which byte order they wrote; only little-endian is read.
absl::Status CheckByteOrder(const Records& records, const std::string& root) {
  if (records.count(root + "/byteorder") == 0) return absl::OkStatus();
  const auto order = StoredBytes(records, root + "/byteorder");
  if (!order.ok()) return order.status();
  const std::string_view text(reinterpret_cast<const char*>(order->data()), order->size());
  if (text == "little") return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("byte order ", Quote(text), " is not \"little\""));
}

// True when the view's elements lie one after the other.
bool IsContiguous(const PickledTensor& tensor) {
  int64_t expected = 1;
  for (size_t i = tensor.shape.size(); i-- > 0;) {
    if (tensor.shape[i] == 1) continue;
    if (tensor.strides[i] != expected) return false;
    expected *= tensor.shape[i];
  }
  return true;
}

// The index in its storage of the view's last element; false when it does not fit a number.
// REQUIRES: no size is 0.
bool LastElement(const PickledTensor& tensor, int64_t* last) {
  *last = tensor.offset;
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    int64_t reach = 0;
    if (__builtin_mul_overflow(tensor.shape[i] - 1, tensor.strides[i], &reach) ||
        __builtin_add_overflow(*last, reach, last)) {
      return false;
    }
  }
  return true;
}

// Copies the view's elements in row-major order.
std::vector<uint8_t> Gather(const PickledTensor& tensor, std::span<const uint8_t> storage,
                            int64_t elements) {
  const int64_t width = StoredDTypeBytes(tensor.dtype);
  // The stride of a size of 1 is never stepped over and may be any number: adding it, if only to
  // take it off again, can overflow. All others have been checked to stay in the storage.
  std::vector<int64_t> strides = tensor.strides;
  for (size_t i = 0; i < strides.size(); ++i) {
    if (tensor.shape[i] == 1) strides[i] = 0;
  }
  std::vector<uint8_t> gathered(static_cast<size_t>(elements * width));
  std::vector<int64_t> index(tensor.shape.size(), 0);
  int64_t source = tensor.offset;
  for (int64_t element = 0; element < elements; ++element) {
    std::memcpy(&gathered[static_cast<size_t>(element * width)], &storage[source * width],
                static_cast<size_t>(width));
    for (size_t i = tensor.shape.size(); i-- > 0;) {
      source += strides[i];
      if (++index[i] < tensor.shape[i]) break;
      source -= strides[i] * tensor.shape[i];
      index[i] = 0;
    }
  }
  return gathered;
}

class Builder {
 public:
  Builder(std::span<const uint8_t> file, const std::string& name, const Records& records,
          std::string root)
      : file_(file), name_(name), records_(records), root_(std::move(root)) {}

  absl::Status Add(const PickledTensor& pickled) {
    const auto malformed = [&pickled](const std::string& what) {
      return absl::InvalidArgumentError(absl::StrCat("tensor ", Quote(pickled.name), ": ", what));
    };
    absl::StatusOr<std::span<const uint8_t>> storage =
        StoredBytes(records_, absl::StrCat(root_, "/data/", pickled.storage));
    if (!storage.ok()) return malformed(std::string(storage.status().message()));
    const int64_t width = StoredDTypeBytes(pickled.dtype);
    int64_t storage_bytes = 0;
    if (__builtin_mul_overflow(pickled.storage_elements, width, &storage_bytes) ||
        storage_bytes != static_cast<int64_t>(storage->size())) {
      return malformed(absl::StrCat("storage ", Quote(pickled.storage), " should have ",
                                    pickled.storage_elements, " ", StoredDTypeName(pickled.dtype),
                                    ", but its record has ", storage->size(), " bytes"));
    }
    StoredTensor tensor;
    tensor.name = pickled.name;
    tensor.file = name_;
    tensor.dtype = pickled.dtype;
    tensor.shape = pickled.shape;
    int64_t elements = 0;
    if (!CountElements(tensor.shape, &elements)) {
      return malformed(absl::StrCat(tensor.Describe(), " has more elements than can be counted"));
    }
    int64_t last = 0;
    if (elements > 0 && (!LastElement(pickled, &last) || last >= pickled.storage_elements)) {
      return malformed(absl::StrCat(tensor.Describe(), " at offset ", pickled.offset, ", strides ",
                                    ShapeString(pickled.strides), ", leaves its storage of ",
                                    pickled.storage_elements));
    }
    const int64_t offset = elements == 0 ? 0 : pickled.offset;
    tensor.place = storage->data() - file_.data() + offset * width;
    if (elements == 0 || IsContiguous(pickled)) {
      tensor.bytes = storage->subspan(static_cast<size_t>(offset * width),
                                      static_cast<size_t>(elements * width));
    } else {
      // A view may repeat elements without end; what is copied must have been in the file.
      if (elements > (static_cast<int64_t>(file_.size()) - gathered_bytes_) / width) {
        return malformed(absl::StrCat(tensor.Describe(), ", strides ", ShapeString(pickled.strides),
                                      ", has more elements than the file"));
      }
      gathered_bytes_ += elements * width;
      result_.gathered.push_back(Gather(pickled, *storage, elements));
      tensor.bytes = result_.gathered.back();
    }
    result_.tensors.emplace(pickled.name, std::move(tensor));
    return absl::OkStatus();
  }

  TorchTensors Take() { return std::move(result_); }

 private:
  std::span<const uint8_t> file_;
  const std::string& name_;
  const Records& records_;
  std::string root_;
  int64_t gathered_bytes_ = 0;
  TorchTensors result_;
};

absl::StatusOr<TorchTensors> Parse(std::span<const uint8_t> file, const std::string& name) {
  const absl::StatusOr<Records> records = ReadZipDirectory(file);
  if (!records.ok()) return records.status();
  const absl::StatusOr<std::string> root = FindRoot(*records);
  if (!root.ok()) return root.status();
  if (absl::Status order = CheckByteOrder(*records, *root); !order.ok()) return order;
  const auto pickle = StoredBytes(*records, *root + kPickleSuffix);
  if (!pickle.ok()) return pickle.status();
  const absl::StatusOr<std::vector<PickledTensor>> pickled = RunPickle(*pickle);
  if (!pickled.ok()) return pickled.status();
  Builder builder(file, name, *records, *root);
  for (const PickledTensor& tensor : *pickled) {
    if (absl::Status status = builder.Add(tensor); !status.ok()) return status;
  }
  return builder.Take();
}

}  // namespace

absl::StatusOr<TorchTensors> ParseTorchCheckpoint(std::span<const uint8_t> file,
                                                  const std::string& name) {
  absl::StatusOr<TorchTensors> parsed = Parse(file, name);
  if (parsed.ok()) return parsed;
  return absl::InvalidArgumentError(absl::StrCat(name, ": ", parsed.status().message()));
}

absl::StatusOr<std::shared_ptr<const TorchCheckpointFile>> TorchCheckpointFile::Open(
    const std::string& path) {
  absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (!file.ok()) return file.status();
  absl::StatusOr<TorchTensors> tensors = ParseTorchCheckpoint(file->bytes(), path);
  if (!tensors.ok()) return tensors.status();
  std::shared_ptr<TorchCheckpointFile> opened(new TorchCheckpointFile);
  opened->file_ = *std::move(file);
  opened->tensors_ = *std::move(tensors);
  return opened;
}

}  // namespace mneme::loader
