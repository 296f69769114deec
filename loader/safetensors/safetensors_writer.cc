#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "loader/safetensors/safetensors.h"
#include "loader/text/text.h"
#include "nlohmann/json.hpp"

namespace mneme::loader {
namespace {

// Data starts at a multiple of this, so that every tensor is aligned in a mapping of the file.
constexpr size_t kDataAlignment = 64;

absl::Status WriteError(const std::string& path, const char* doing) {
  return absl::UnavailableError(absl::StrCat(path, ": cannot ", doing, ": ", std::strerror(errno)));
}

// A file being written: removed in the destructor unless it was renamed into place.
class PartialFile {
 public:
  explicit PartialFile(const std::string& path) : path_(path), partial_(path + ".partial") {}
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;
  ~PartialFile() {
    if (fd_ >= 0) close(fd_);
    if (exists_) unlink(partial_.c_str());
  }

  absl::Status Create() {
    fd_ = open(partial_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd_ < 0) return WriteError(partial_, "create");
    exists_ = true;
    return absl::OkStatus();
  }

  absl::Status Write(std::span<const uint8_t> bytes) {
    while (!bytes.empty()) {
      const ssize_t count = write(fd_, bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return WriteError(partial_, "write");
      bytes = bytes.subspan(static_cast<size_t>(count));
    }
    return absl::OkStatus();
  }

  // Makes the file durable and gives it its name.
  absl::Status Commit() {
    if (fsync(fd_) != 0) return WriteError(partial_, "sync");
    const int closed = close(fd_);
    fd_ = -1;
    if (closed != 0) return WriteError(partial_, "close");
    if (rename(partial_.c_str(), path_.c_str()) != 0) return WriteError(path_, "rename into place");
    exists_ = false;
    // The name is durable when the folder is. Not every file system syncs folders; the file is
    // whole.
    const size_t slash = path_.rfind('/');
    const std::string folder = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
    const int folder_fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd >= 0) {
      fsync(folder_fd);
      close(folder_fd);
    }
    return absl::OkStatus();
  }

 private:
  std::string path_;
  std::string partial_;
  int fd_ = -1;
  bool exists_ = false;
};

absl::Status CheckTensors(const std::string& path,
                          const std::vector<const StoredTensor*>& by_name) {
  const StoredTensor* before = nullptr;
  for (const StoredTensor* tensor : by_name) {
    int64_t elements = 0;
    int64_t bytes = 0;
    if (!CountElements(tensor->shape, &elements) ||
        __builtin_mul_overflow(elements, StoredDTypeBytes(tensor->dtype), &bytes) ||
        bytes != static_cast<int64_t>(tensor->bytes.size())) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": tensor ", Quote(tensor->name), ": ",
                                                     tensor->Describe(), " does not have ",
                                                     tensor->bytes.size(), " bytes"));
    }
    if (tensor->name == "__metadata__" || FirstInvalidUtf8(tensor->name) >= 0 ||
        (before != nullptr && before->name == tensor->name)) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": tensor name ", Quote(tensor->name),
                                                     " is used twice, reserved or not UTF-8"));
    }
    before = tensor;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> HeaderJson(const std::string& path,
                                       const std::vector<const StoredTensor*>& order,
                                       const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) {
    nlohmann::ordered_json& section = header["__metadata__"];
    for (const auto& [key, value] : metadata) {
      if (FirstInvalidUtf8(key) >= 0 || FirstInvalidUtf8(value) >= 0) {
        return absl::InvalidArgumentError(
            absl::StrCat(path, ": metadata ", Quote(key), " is not UTF-8"));
      }
      section[key] = value;
    }
  }
  int64_t offset = 0;
  for (const StoredTensor* tensor : order) {
    const int64_t end = offset + static_cast<int64_t>(tensor->bytes.size());
    nlohmann::ordered_json entry = nlohmann::ordered_json::object();
    entry["dtype"] = StoredDTypeName(tensor->dtype);
    entry["shape"] = tensor->shape;
    entry["data_offsets"] = {offset, end};
    // push_back does not search for the name, which an ordered object would do one by one.
    header.push_back({tensor->name, std::move(entry)});
    offset = end;
  }
  std::string text = header.dump();
  text.append((kDataAlignment - (8 + text.size()) % kDataAlignment) % kDataAlignment, ' ');
  if (static_cast<int64_t>(text.size()) > kMaxHeaderBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": header of ", text.size(), " bytes is more than ", kMaxHeaderBytes));
  }
  return text;
}

}  // namespace

absl::Status WriteSafetensors(const std::string& path, const std::vector<StoredTensor>& tensors,
                              const std::map<std::string, std::string>& metadata) {
  std::vector<const StoredTensor*> order;
  order.reserve(tensors.size());
  for (const StoredTensor& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(),
            [](const auto* a, const auto* b) { return a->name < b->name; });
  if (absl::Status status = CheckTensors(path, order); !status.ok()) return status;
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return StoredDTypeBytes(a->dtype) > StoredDTypeBytes(b->dtype);
  });
  const absl::StatusOr<std::string> header = HeaderJson(path, order, metadata);
  if (!header.ok()) return header.status();

  PartialFile file(path);
  if (absl::Status status = file.Create(); !status.ok()) return status;
  uint8_t length[8];
  for (int i = 0; i < 8; ++i) length[i] = static_cast<uint8_t>(uint64_t{header->size()} >> (8 * i));
  if (absl::Status status = file.Write(length); !status.ok()) return status;
  const auto* text = reinterpret_cast<const uint8_t*>(header->data());
  if (absl::Status status = file.Write({text, header->size()}); !status.ok()) return status;
  for (const StoredTensor* tensor : order) {
    if (absl::Status status = file.Write(tensor->bytes); !status.ok()) return status;
  }
  return file.Commit();
}

}  // namespace mneme::loader
