#include "loader/safetensors/safetensors.h"

#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

std::string Path(const std::string& name) { return testing::TempDir() + "/" + name; }

// A tensor whose bytes are the text's.
StoredTensor Tensor(const std::string& name, StoredDType dtype, std::vector<int64_t> shape,
                    const std::string& bytes) {
  StoredTensor tensor;
  tensor.name = name;
  tensor.dtype = dtype;
  tensor.shape = std::move(shape);
  tensor.bytes = {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  return tensor;
}

std::string Text(const StoredTensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()};
}

TEST(SafetensorsTest, ReadsBackWhatItWrote) {
  const std::string path = Path("round_trip.safetensors");
  const std::string one = "abcdefgh";
  const std::string odd = "xyz";
  const std::string wide = "0123456789abcdef";
  const std::string none;
  const std::map<std::string, std::string> metadata = {{"format", "pt"}, {"a \"b\"", "c\nd"}};
  const std::vector<StoredTensor> tensors = {Tensor("odd", StoredDType::kU8, {3}, odd),
                                             Tensor("one", StoredDType::kF32, {1, 2}, one),
                                             Tensor("wide", StoredDType::kI64, {2}, wide),
                                             Tensor("none", StoredDType::kBf16, {4, 0}, none),
                                             Tensor("scalar", StoredDType::kF64, {}, one)};
  ASSERT_TRUE(WriteSafetensors(path, tensors, metadata).ok());
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->metadata(), metadata);
  ASSERT_EQ((*file)->tensors().size(), tensors.size());
  for (const StoredTensor& want : tensors) {
    const StoredTensor& got = (*file)->tensors().at(want.name);
    EXPECT_EQ(got.Describe(), want.Describe());
    EXPECT_EQ(got.file, path);
    EXPECT_EQ(Text(got), Text(want));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(got.bytes.data()) % StoredDTypeBytes(got.dtype), 0u);
  }
  EXPECT_FALSE(FileExists(path + ".partial"));
}

TEST(SafetensorsTest, AFileWithoutTensorsIsFine) {
  const std::string path = Path("empty.safetensors");
  ASSERT_TRUE(WriteSafetensors(path, {}, {}).ok());
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE((*file)->tensors().empty());
  EXPECT_TRUE((*file)->metadata().empty());
}

TEST(SafetensorsTest, AFailedWriteLeavesTheOldFile) {
  const std::string path = Path("kept.safetensors");
  const std::string bytes = "abcd";
  ASSERT_TRUE(WriteSafetensors(path, {Tensor("a", StoredDType::kF32, {1}, bytes)}, {}).ok());
  const auto wrong = WriteSafetensors(path, {Tensor("a", StoredDType::kF32, {2}, bytes)}, {});
  EXPECT_EQ(wrong.message(), path + ": tensor \"a\": [2] F32 does not have 4 bytes");
  const auto twice = WriteSafetensors(
      path,
      {Tensor("a", StoredDType::kF32, {1}, bytes), Tensor("a", StoredDType::kF32, {1}, bytes)}, {});
  EXPECT_EQ(twice.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(SafetensorsFile::Open(path).ok());
}

TEST(SafetensorsTest, ErrorsNameTheFile) {
  const auto missing = SafetensorsFile::Open(Path("missing.safetensors"));
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  const std::string path = Path("short.safetensors");
  std::ofstream(path, std::ios::binary) << "abc";
  const auto malformed = SafetensorsFile::Open(path);
  EXPECT_EQ(malformed.status().message(),
            path + ": has 3 bytes, too few for a safetensors header length (8)");
  const auto nowhere = WriteSafetensors("/nowhere/at/all.safetensors", {}, {});
  EXPECT_NE(nowhere.message().find("/nowhere/at/all.safetensors.partial"), std::string::npos);
}

}  // namespace
}  // namespace mneme::loader
