#include "loader/safetensors/safetensors_header.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "loader/safetensors/header_json.h"
#include "loader/text/text.h"

namespace mneme::loader {
namespace {

constexpr int64_t kLengthBytes = 8;

std::optional<StoredDType> ParseDType(std::string_view name) {
  constexpr StoredDType kAll[] = {StoredDType::kF32, StoredDType::kBf16, StoredDType::kF16,
                                  StoredDType::kF64, StoredDType::kI64,  StoredDType::kI32,
                                  StoredDType::kI16, StoredDType::kI8,   StoredDType::kU8,
                                  StoredDType::kBool};
  for (const StoredDType dtype : kAll) {
    if (name == StoredDTypeName(dtype)) return dtype;
  }
  return std::nullopt;
}

absl::Status Malformed(const std::string& file, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(file, ": ", what));
}

// The JSON text of the header, its length checked.
absl::StatusOr<std::string_view> HeaderText(std::span<const uint8_t> file,
                                            const std::string& name) {
  const int64_t file_bytes = static_cast<int64_t>(file.size());
  if (file_bytes < kLengthBytes) {
    return Malformed(name, absl::StrCat("has ", file_bytes,
                                        " bytes, too few for a safetensors header length (8)"));
  }
  uint64_t length = 0;
  for (int i = 0; i < 8; ++i) length |= static_cast<uint64_t>(file[i]) << (8 * i);
  if (length > static_cast<uint64_t>(kMaxHeaderBytes)) {
    return Malformed(
        name, absl::StrCat("header length ", length, " is more than ", kMaxHeaderBytes, " bytes"));
  }
  const int64_t room = file_bytes - kLengthBytes;
  if (static_cast<int64_t>(length) > room) {
    return Malformed(name, absl::StrCat("header length ", length, " is past the end: ", room,
                                        " bytes follow it"));
  }
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + kLengthBytes, length);
  if (text.empty() || text[0] != '{') {
    const std::string first = text.empty() ? "nothing" : Quote(text.substr(0, 1));
    return Malformed(name, absl::StrCat("header must start with \"{\", not ", first));
  }
  const int64_t invalid = FirstInvalidUtf8(text);
  if (invalid >= 0) {
    return Malformed(name, absl::StrCat("header is not UTF-8 at its byte ", invalid));
  }
  // The JSON parser takes a zero byte for the end of its input.
  const size_t zero = text.find('\0');
  if (zero != std::string_view::npos) {
    return Malformed(name, absl::StrCat("header has a zero byte, its byte ", zero));
  }
  return text;
}

// Checks that the tensors cover the data exactly: no gap, no overlap, nothing left over.
absl::Status CheckCoverage(const std::map<std::string, HeaderEntry>& entries, int64_t data_bytes) {
  using Item = const std::pair<const std::string, HeaderEntry>*;
  std::vector<Item> order;
  order.reserve(entries.size());
  for (const auto& item : entries) order.push_back(&item);
  std::sort(order.begin(), order.end(), [](Item a, Item b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  int64_t covered = 0;
  std::string before = "the header";
  for (const Item item : order) {
    const auto& [name, entry] = *item;
    if (entry.begin != covered) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", Quote(name), ": data_offsets [", entry.begin, ", ", entry.end,
                       "] ", entry.begin > covered ? "leave a gap after " : "overlap ", before,
                       ", which ends at ", covered));
    }
    covered = entry.end;
    before = absl::StrCat("tensor ", Quote(name));
  }
  if (covered != data_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the tensors end at byte ", covered, " of the data, which has ", data_bytes, " bytes"));
  }
  return absl::OkStatus();
}

// Checks one entry against the data and turns it into a tensor.
absl::StatusOr<StoredTensor> MakeTensor(const std::string& name, const HeaderEntry& entry,
                                        std::span<const uint8_t> data) {
  const auto malformed = [&name](const std::string& what) {
    return absl::InvalidArgumentError(absl::StrCat("tensor ", Quote(name), ": ", what));
  };
  const std::optional<StoredDType> dtype = ParseDType(entry.dtype);
  if (!dtype.has_value()) return malformed(absl::StrCat("unknown dtype ", Quote(entry.dtype)));
  const int64_t data_bytes = static_cast<int64_t>(data.size());
  const std::string offsets = absl::StrCat("data_offsets [", entry.begin, ", ", entry.end, "]");
  if (entry.begin > entry.end) return malformed(absl::StrCat(offsets, " end before they begin"));
  if (entry.end > data_bytes) {
    return malformed(
        absl::StrCat(offsets, " are beyond the data, which has ", data_bytes, " bytes"));
  }
  StoredTensor tensor;
  tensor.name = name;
  tensor.dtype = *dtype;
  tensor.shape = entry.shape;
  int64_t elements = 0;
  int64_t bytes = 0;
  if (!CountElements(tensor.shape, &elements) ||
      __builtin_mul_overflow(elements, StoredDTypeBytes(*dtype), &bytes)) {
    return malformed(absl::StrCat(tensor.Describe(), " has more bytes than can be counted"));
  }
  if (bytes != entry.end - entry.begin) {
    return malformed(absl::StrCat(tensor.Describe(), " has ", bytes, " bytes, but ", offsets,
                                  " span ", entry.end - entry.begin));
  }
  tensor.place = entry.begin;
  tensor.bytes = data.subspan(static_cast<size_t>(entry.begin), static_cast<size_t>(bytes));
  return tensor;
}

}  // namespace

absl::StatusOr<SafetensorsHeader> ParseSafetensors(std::span<const uint8_t> file,
                                                   const std::string& name) {
  const absl::StatusOr<std::string_view> text = HeaderText(file, name);
  if (!text.ok()) return text.status();
  SafetensorsHeader header;
  std::map<std::string, HeaderEntry> entries;
  if (absl::Status status = ParseHeaderJson(*text, &entries, &header.metadata); !status.ok()) {
    return Malformed(name, std::string(status.message()));
  }
  const std::span<const uint8_t> data =
      file.subspan(static_cast<size_t>(kLengthBytes) + text->size());
  for (const auto& [tensor_name, entry] : entries) {
    absl::StatusOr<StoredTensor> tensor = MakeTensor(tensor_name, entry, data);
    if (!tensor.ok()) return Malformed(name, std::string(tensor.status().message()));
    tensor->file = name;
    header.tensors.emplace_hint(header.tensors.end(), tensor_name, *std::move(tensor));
  }
  absl::Status covered = CheckCoverage(entries, static_cast<int64_t>(data.size()));
  if (!covered.ok()) return Malformed(name, std::string(covered.message()));
  return header;
}

}  // namespace mneme::loader
