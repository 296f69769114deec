#include "loader/torch_pickle/test_torch_zip.h"

namespace mneme::loader {

std::string LittleEndian(uint64_t value, int width) {
  std::string bytes;
  for (int i = 0; i < width; ++i) bytes.push_back(static_cast<char>(value >> (8 * i)));
  return bytes;
}

std::string MakeZip(const std::vector<TestRecord>& records, const TestZipOptions& options) {
  std::string data;
  std::string directory;
  constexpr uint64_t kIn64 = 0xffffffff;
  for (const TestRecord& record : records) {
    const uint64_t size = record.bytes.size();
    const uint64_t offset = data.size();
    const std::string versions = LittleEndian(20, 2);
    const std::string middle = LittleEndian(static_cast<uint64_t>(record.flags), 2) +
                               LittleEndian(static_cast<uint64_t>(record.method), 2) +
                               LittleEndian(0, 4) + LittleEndian(0, 4);
    data += LittleEndian(0x04034b50, 4) + versions + middle + LittleEndian(size, 4) +
            LittleEndian(size, 4) + LittleEndian(record.name.size(), 2) + LittleEndian(0, 2) +
            record.name + record.bytes;
    std::string extra;
    if (options.zip64) {
      extra = LittleEndian(1, 2) + LittleEndian(24, 2) + LittleEndian(size, 8) +
              LittleEndian(size, 8) + LittleEndian(offset, 8);
    }
    const uint64_t size_field = options.zip64 ? kIn64 : size;
    directory += LittleEndian(0x02014b50, 4) + versions + versions + middle +
                 LittleEndian(size_field, 4) + LittleEndian(size_field, 4) +
                 LittleEndian(record.name.size(), 2) + LittleEndian(extra.size(), 2) +
                 std::string(10, '\0') + LittleEndian(options.zip64 ? kIn64 : offset, 4) +
                 record.name + extra;
  }
  const uint64_t directory_at = data.size();
  std::string end;
  if (options.zip64) {
    const uint64_t end64_at = directory_at + directory.size();
    end = LittleEndian(0x06064b50, 4) + LittleEndian(44, 8) + LittleEndian(45, 2) +
          LittleEndian(45, 2) + LittleEndian(0, 8) + LittleEndian(records.size(), 8) +
          LittleEndian(records.size(), 8) + LittleEndian(directory.size(), 8) +
          LittleEndian(directory_at, 8);
    end += LittleEndian(0x07064b50, 4) + LittleEndian(0, 4) + LittleEndian(end64_at, 8) +
           LittleEndian(1, 4);
  }
  const uint64_t count = options.zip64 ? 0xffff : records.size();
  end += LittleEndian(0x06054b50, 4) + LittleEndian(0, 4) + LittleEndian(count, 2) +
         LittleEndian(count, 2) + LittleEndian(options.zip64 ? kIn64 : directory.size(), 4) +
         LittleEndian(options.zip64 ? kIn64 : directory_at, 4) +
         LittleEndian(options.comment.size(), 2) + options.comment;
  return data + directory + end;
}

std::string PickleString(const std::string& text) {
  return "X" + LittleEndian(text.size(), 4) + text;
}

std::string PickleInt(int64_t value) {
  if (value == static_cast<int32_t>(value))
    return "J" + LittleEndian(static_cast<uint64_t>(value), 4);
  return "\x8a\x08" + LittleEndian(static_cast<uint64_t>(value), 8);
}

std::string PickleTuple(const std::vector<int64_t>& values) {
  std::string items;
  for (const int64_t value : values) items += PickleInt(value);
  return "(" + items + "t";
}

std::string PickleStorage(const std::string& type, const std::string& key, int64_t elements) {
  return "(" + PickleString("storage") + "ctorch\n" + type + "\n" + PickleString(key) +
         PickleString("cpu") + PickleInt(elements) + "tQ";
}

std::string PickleTensor(const std::string& storage, int64_t offset,
                         const std::vector<int64_t>& shape, const std::vector<int64_t>& strides) {
  return "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + PickleInt(offset) + PickleTuple(shape) +
         PickleTuple(strides) + "\x89" + "ccollections\nOrderedDict\n)R" + "tR";
}

std::string PickleDict(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string pickle =
      "\x80\x02"
      "ccollections\nOrderedDict\n)R(";
  for (const auto& [key, value] : items) pickle += PickleString(key) + value;
  return pickle + "u.";
}

}  // namespace mneme::loader
