// Builds zip files and pickles for the tests of this folder, well-formed or not.
#ifndef MNEME_LOADER_TORCH_PICKLE_TEST_TORCH_ZIP_H_
#define MNEME_LOADER_TORCH_PICKLE_TEST_TORCH_ZIP_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace mneme::loader {

// `width` bytes of `value`, little-endian.
std::string LittleEndian(uint64_t value, int width);

struct TestRecord {
  std::string name;
  std::string bytes;
  int method = 0;
  int flags = 0;
};

struct TestZipOptions {
  bool zip64 = false;  // sizes and offsets in zip64 fields, and a zip64 end record
  std::string comment = "";
};

// A zip file of stored records.
std::string MakeZip(const std::vector<TestRecord>& records, const TestZipOptions& options = {});

// Pieces of protocol 2.
std::string PickleString(const std::string& text);  // BINUNICODE
std::string PickleInt(int64_t value);               // BININT, or LONG1 where it does not fit
std::string PickleTuple(const std::vector<int64_t>& values);
// `type` is "FloatStorage" or the like.
std::string PickleStorage(const std::string& type, const std::string& key, int64_t elements);
std::string PickleTensor(const std::string& storage, int64_t offset,
                         const std::vector<int64_t>& shape, const std::vector<int64_t>& strides);
// A whole pickle: an OrderedDict with these keys and values (already pickled).
std::string PickleDict(const std::vector<std::pair<std::string, std::string>>& items);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_TORCH_PICKLE_TEST_TORCH_ZIP_H_
