#include "loader/torch_pickle/zip_archive.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "loader/text/text.h"

namespace mneme::loader {
namespace {

constexpr uint64_t kEndBytes = 22;
constexpr uint64_t kEnd64Bytes = 56;
constexpr uint64_t kLocator64Bytes = 20;
constexpr uint64_t kCentralBytes = 46;
constexpr uint64_t kLocalBytes = 30;
constexpr uint64_t kMaxComment = 0xffff;
constexpr uint32_t kEndSignature = 0x06054b50;
constexpr uint32_t kEnd64Signature = 0x06064b50;
constexpr uint32_t kLocator64Signature = 0x07064b50;
constexpr uint32_t kCentralSignature = 0x02014b50;
constexpr uint32_t kLocalSignature = 0x04034b50;
// A 16- or 32-bit field of all ones says that the value stands in a zip64 field.
constexpr uint32_t kIn64 = 0xffffffff;
// Far above any checkpoint's tensors.
constexpr uint64_t kMaxRecords = 1 << 19;

absl::Status Malformed(const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("zip: ", what));
}

// Little-endian numbers at offsets that the caller has checked.
class Bytes {
 public:
  explicit Bytes(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  uint64_t size() const { return bytes_.size(); }
  uint16_t U16(uint64_t at) const { return static_cast<uint16_t>(Number(at, 2)); }
  uint32_t U32(uint64_t at) const { return static_cast<uint32_t>(Number(at, 4)); }
  uint64_t U64(uint64_t at) const { return Number(at, 8); }
  std::string_view Text(uint64_t at, uint64_t length) const {
    return {reinterpret_cast<const char*>(bytes_.data()) + at, length};
  }
  // True when [at, at + length) lies inside [0, end).
  static bool Fits(uint64_t at, uint64_t length, uint64_t end) {
    return at <= end && length <= end - at;
  }

 private:
  uint64_t Number(uint64_t at, int width) const {
    uint64_t value = 0;
    for (int i = 0; i < width; ++i) value |= uint64_t{bytes_[at + i]} << (8 * i);
    return value;
  }
  std::span<const uint8_t> bytes_;
};

// Where the central directory lies.
struct Directory {
  uint64_t offset = 0;
  uint64_t size = 0;
  uint64_t records = 0;
};

// One entry of the central directory.
struct Entry {
  std::string name;
  uint64_t local_offset = 0;
  uint64_t stored_bytes = 0;
  uint64_t bytes = 0;
  uint16_t method = 0;
  uint16_t flags = 0;
};

absl::StatusOr<uint64_t> FindEnd(const Bytes& file) {
  if (file.size() < kEndBytes) {
    return Malformed(absl::StrCat("the file has ", file.size(), " bytes, too few for a zip file"));
  }
  const uint64_t last = file.size() - kEndBytes;
  const uint64_t first = last > kMaxComment ? last - kMaxComment : 0;
  for (uint64_t at = last + 1; at-- > first;) {
    // The comment must reach exactly to the end, or the signature is some other data's.
    if (file.U32(at) == kEndSignature && file.U16(at + 20) == last - at) return at;
  }
  return Malformed("no end record: not a zip file, or cut short");
}

absl::StatusOr<Directory> FindDirectory(const Bytes& file) {
  const absl::StatusOr<uint64_t> end = FindEnd(file);
  if (!end.ok()) return end.status();
  Directory directory;
  uint64_t limit = *end;  // the directory ends before the end records
  const uint16_t records = file.U16(*end + 10);
  directory.records = records;
  directory.size = file.U32(*end + 12);
  directory.offset = file.U32(*end + 16);
  uint32_t disks = uint32_t{file.U16(*end + 4)} | file.U16(*end + 6);
  if (records == 0xffff || directory.size == kIn64 || directory.offset == kIn64) {
    if (*end < kLocator64Bytes || file.U32(*end - kLocator64Bytes) != kLocator64Signature) {
      return Malformed("no zip64 locator before the end record");
    }
    const uint64_t at = file.U64(*end - kLocator64Bytes + 8);
    if (!Bytes::Fits(at, kEnd64Bytes, *end - kLocator64Bytes) || file.U32(at) != kEnd64Signature) {
      return Malformed(absl::StrCat("no zip64 end record at byte ", at));
    }
    limit = at;
    disks = file.U32(at + 16) | file.U32(at + 20);
    directory.records = file.U64(at + 32);
    directory.size = file.U64(at + 40);
    directory.offset = file.U64(at + 48);
  }
  if (disks != 0 && disks != 0xffff) return Malformed("is split over several disks");
  if (!Bytes::Fits(directory.offset, directory.size, limit)) {
    return Malformed(absl::StrCat("central directory of ", directory.size, " bytes at byte ",
                                  directory.offset, " does not end before byte ", limit));
  }
  if (directory.records > kMaxRecords) {
    return Malformed(absl::StrCat(directory.records, " records are more than ", kMaxRecords));
  }
  return directory;
}

// Replaces what stands in the zip64 extra field [at, at + length).
bool ReadZip64(const Bytes& file, uint64_t at, uint64_t length, Entry& entry) {
  const uint64_t end = at + length;
  while (Bytes::Fits(at, 4, end)) {
    const uint16_t id = file.U16(at);
    const uint16_t size = file.U16(at + 2);
    at += 4;
    if (!Bytes::Fits(at, size, end)) return false;
    if (id == 1) {
      const uint64_t field_end = at + size;
      for (uint64_t* value : {&entry.bytes, &entry.stored_bytes, &entry.local_offset}) {
        if (*value != kIn64) continue;
        if (!Bytes::Fits(at, 8, field_end)) return false;
        *value = file.U64(at);
        at += 8;
      }
      return true;
    }
    at += size;
  }
  return true;
}

// Reads the entry at `at` and moves past it.
absl::StatusOr<Entry> ReadEntry(const Bytes& file, uint64_t end, uint64_t& at) {
  if (!Bytes::Fits(at, kCentralBytes, end) || file.U32(at) != kCentralSignature) {
    return Malformed(absl::StrCat("no central directory entry at byte ", at));
  }
  const uint64_t name_bytes = file.U16(at + 28);
  const uint64_t extra_bytes = file.U16(at + 30);
  const uint64_t comment_bytes = file.U16(at + 32);
  Entry entry;
  entry.flags = file.U16(at + 8);
  entry.method = file.U16(at + 10);
  entry.stored_bytes = file.U32(at + 20);
  entry.bytes = file.U32(at + 24);
  entry.local_offset = file.U32(at + 42);
  const uint64_t name_at = at + kCentralBytes;
  if (!Bytes::Fits(name_at, name_bytes + extra_bytes + comment_bytes, end)) {
    return Malformed(absl::StrCat("central directory entry at byte ", at, " is cut short"));
  }
  entry.name = std::string(file.Text(name_at, name_bytes));
  if (!ReadZip64(file, name_at + name_bytes, extra_bytes, entry)) {
    return Malformed(absl::StrCat("record ", Quote(entry.name), ": zip64 field is cut short"));
  }
  at = name_at + name_bytes + extra_bytes + comment_bytes;
  return entry;
}

// The record's bytes, found through its local header and checked against the entry.
absl::StatusOr<std::span<const uint8_t>> LocateBytes(std::span<const uint8_t> bytes,
                                                     const Entry& entry, uint64_t data_end) {
  const Bytes file(bytes);
  const auto malformed = [&entry](const std::string& what) {
    return Malformed(absl::StrCat("record ", Quote(entry.name), ": ", what));
  };
  const uint64_t at = entry.local_offset;
  if (!Bytes::Fits(at, kLocalBytes, data_end) || file.U32(at) != kLocalSignature) {
    return malformed(absl::StrCat("no local header at byte ", at));
  }
  const uint64_t name_bytes = file.U16(at + 26);
  const uint64_t extra_bytes = file.U16(at + 28);
  const uint64_t begin = at + kLocalBytes + name_bytes + extra_bytes;
  if (begin > data_end || file.Text(at + kLocalBytes, name_bytes) != entry.name ||
      file.U16(at + 8) != entry.method) {
    return malformed("local header and central directory disagree");
  }
  if (!Bytes::Fits(begin, entry.stored_bytes, data_end)) {
    return malformed(absl::StrCat(entry.stored_bytes, " bytes at byte ", begin,
                                  " reach past the data, which ends at ", data_end));
  }
  if (entry.method == 0 && entry.stored_bytes != entry.bytes) {
    return malformed(
        absl::StrCat("stored, but ", entry.stored_bytes, " bytes stand for ", entry.bytes));
  }
  return bytes.subspan(begin, entry.stored_bytes);
}

}  // namespace

absl::StatusOr<std::map<std::string, ZipRecord>> ReadZipDirectory(std::span<const uint8_t> bytes) {
  const Bytes file(bytes);
  const absl::StatusOr<Directory> directory = FindDirectory(file);
  if (!directory.ok()) return directory.status();
  const uint64_t end = directory->offset + directory->size;
  uint64_t at = directory->offset;
  std::map<std::string, ZipRecord> records;
  // Where each record begins (its local header) and ends, to find overlaps.
  std::vector<std::pair<uint64_t, uint64_t>> spans;
  for (uint64_t i = 0; i < directory->records; ++i) {
    const absl::StatusOr<Entry> entry = ReadEntry(file, end, at);
    if (!entry.ok()) return entry.status();
    const auto data = LocateBytes(bytes, *entry, directory->offset);
    if (!data.ok()) return data.status();
    const uint64_t data_end = static_cast<uint64_t>(data->data() - bytes.data()) + data->size();
    spans.emplace_back(entry->local_offset, data_end);
    const ZipRecord record{entry->method, (entry->flags & 1) != 0, *data};
    if (!records.emplace(entry->name, record).second) {
      return Malformed(absl::StrCat("record ", Quote(entry->name), " is there twice"));
    }
  }
  if (at != end) {
    return Malformed(absl::StrCat("central directory has ", end - at, " bytes after its ",
                                  directory->records, " records"));
  }
  std::sort(spans.begin(), spans.end());
  for (size_t i = 1; i < spans.size(); ++i) {
    if (spans[i].first < spans[i - 1].second) {
      return Malformed(absl::StrCat("records overlap at byte ", spans[i].first));
    }
  }
  return records;
}

}  // namespace mneme::loader
