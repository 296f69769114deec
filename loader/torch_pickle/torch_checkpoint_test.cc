#include "loader/torch_pickle/torch_checkpoint.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "loader/torch_pickle/test_torch_zip.h"

namespace mneme::loader {
namespace {

using testing::HasSubstr;

absl::StatusOr<TorchTensors> Parse(const std::string& file) {
  return ParseTorchCheckpoint({reinterpret_cast<const uint8_t*>(file.data()), file.size()}, "m.pt");
}

std::string Text(const StoredTensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()};
}

// A checkpoint of one tensor "t" over the bfloat16 storage "0".
std::string One(const std::string& storage_bytes, int64_t elements, int64_t offset,
                const std::vector<int64_t>& shape, const std::vector<int64_t>& strides) {
  const std::string storage = PickleStorage("BFloat16Storage", "0", elements);
  return MakeZip(
      {{"m/data.pkl", PickleDict({{"t", PickleTensor(storage, offset, shape, strides)}})},
       {"m/data/0", storage_bytes},
       {"m/version", "3\n"}});
}

TEST(TorchCheckpointTest, ContiguousTensorsStayInTheFile) {
  const std::string file = One("aabbccddeeff", 6, 1, {2, 1, 2}, {2, 77, 1});
  const auto parsed = Parse(file);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const StoredTensor& tensor = parsed->tensors.at("t");
  EXPECT_EQ(Text(tensor), "bbccddee");
  EXPECT_EQ(tensor.Describe(), "[2, 1, 2] BF16");
  EXPECT_EQ(tensor.file, "m.pt");
  EXPECT_GE(tensor.bytes.data(), reinterpret_cast<const uint8_t*>(file.data()));
  EXPECT_LT(tensor.bytes.data(), reinterpret_cast<const uint8_t*>(file.data()) + file.size());
  EXPECT_TRUE(parsed->gathered.empty());
}

TEST(TorchCheckpointTest, OtherViewsAreGathered) {
  const auto transposed = Parse(One("aabbccddeeff", 6, 0, {3, 2}, {1, 3}));
  ASSERT_TRUE(transposed.ok()) << transposed.status();
  EXPECT_EQ(Text(transposed->tensors.at("t")), "aaddbbeeccff");
  const auto strided = Parse(One("aabbccddeeff", 6, 1, {2, 2}, {3, 1}));
  ASSERT_TRUE(strided.ok()) << strided.status();
  EXPECT_EQ(Text(strided->tensors.at("t")),
            "bbccee"
            "ff");
  const auto repeated = Parse(One("aabbccddeeff", 6, 2, {3}, {0}));
  ASSERT_TRUE(repeated.ok()) << repeated.status();
  EXPECT_EQ(Text(repeated->tensors.at("t")), "cccccc");
}

// UndefinedBehaviorSanitizer sees the overflow, which otherwise cancels out.
TEST(TorchCheckpointTest, TheStrideOfASizeOfOneIsNotUsed) {
  // Stays in the file, which therefore must live.
  const std::string file = One("aabbccdd", 4, 1, {3, 1}, {1, INT64_MAX});
  const auto parsed = Parse(file);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(Text(parsed->tensors.at("t")), "bbccdd");
  const auto gathered = Parse(One("aabbccdd", 4, 1, {2, 1}, {2, INT64_MAX}));
  ASSERT_TRUE(gathered.ok()) << gathered.status();
  EXPECT_EQ(Text(gathered->tensors.at("t")), "bbdd");
}

TEST(TorchCheckpointTest, ZeroSizeAndRankZeroTensorsAreFine) {
  const std::string one = One("aabb", 2, 1, {}, {});
  const auto scalar = Parse(one);
  ASSERT_TRUE(scalar.ok()) << scalar.status();
  EXPECT_EQ(Text(scalar->tensors.at("t")), "bb");
  const std::string none = One("", 0, 0, {3, 0}, {1, 1});
  const auto empty = Parse(none);
  ASSERT_TRUE(empty.ok()) << empty.status();
  EXPECT_EQ(Text(empty->tensors.at("t")), "");
}

TEST(TorchCheckpointTest, ReadsTheTrainersFile) {
  const std::string path = "tests/golden/ultramem_v2_expand/model.pt";
  const auto file = TorchCheckpointFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->tensors().at("transformer.wte.weight").Describe(), "[256, 64] F32");
  EXPECT_EQ((*file)->tensors().at("transformer.mem_blocks.0.shuffle_index").dtype,
            StoredDType::kI64);
  EXPECT_EQ((*file)->file_bytes(), 1089963);
}

struct Refusal {
  const char* what;
  std::string file;
  std::string message;
};

TEST(TorchCheckpointTest, RefusesMalformedFiles) {
  const std::string empty = PickleDict({});
  const std::string big = std::to_string(INT64_MAX);
  const int64_t huge = int64_t{1} << 40;
  const std::vector<Refusal> refusals = {
      {"no zip", "not a zip file at all, of some length", "m.pt: zip: no end record"},
      {"no pickle", MakeZip({{"m/data/0", "x"}}), "m.pt: no record */data.pkl"},
      {"two pickles", MakeZip({{"a/data.pkl", empty}, {"b/data.pkl", empty}}), "two pickles"},
      {"compressed pickle", MakeZip({{"m/data.pkl", empty, 8}}),
       "record \"m/data.pkl\" is compressed (method 8); only stored records are read"},
      {"encrypted pickle", MakeZip({{"m/data.pkl", empty, 0, 1}}), "is encrypted"},
      {"big-endian", MakeZip({{"m/data.pkl", empty}, {"m/byteorder", "big"}}),
       "byte order \"big\" is not \"little\""},
      {"a pickle that calls",
       MakeZip({{"m/data.pkl",
                 "\x80\x02"
                 "cos\nsystem\n)R."}}),
       "m.pt: data.pkl, byte 2: global \"os.system\" is not allowed"},
      {"missing storage",
       MakeZip({{"m/data.pkl", PickleDict({{"t", PickleTensor(PickleStorage("FloatStorage", "9", 1),
                                                              0, {1}, {1})}})}}),
       "tensor \"t\": record \"m/data/9\" is missing"},
      {"short storage", One("aabb", 3, 0, {3}, {1}),
       "tensor \"t\": storage \"0\" should have 3 BF16, but its record has 4 bytes"},
      {"long storage", One("aabb", 1, 0, {1}, {1}), "its record has 4 bytes"},
      {"storage bytes overflow", One("aabb", INT64_MAX, 0, {1}, {1}),
       "should have " + big + " BF16"},
      {"view past the end", One("aabb", 2, 1, {2}, {1}),
       "tensor \"t\": [2] BF16 at offset 1, strides [1], leaves its storage of 2"},
      {"stride past the end", One("aabb", 2, 0, {2}, {2}), "leaves its storage of 2"},
      {"stride overflow", One("aabb", 2, 0, {3}, {INT64_MAX}), "leaves its storage"},
      {"size overflow", One("aabb", 2, 0, {huge, huge}, {0, 0}), "than can be counted"},
      {"offset overflow", One("aabb", 2, INT64_MAX, {2}, {1}), "leaves its storage"},
      {"endless repetition", One("aabb", 2, 0, {huge}, {0}),
       "[1099511627776] BF16, strides [0], has more elements than the file"},
  };
  for (const Refusal& refusal : refusals) {
    const auto parsed = Parse(refusal.file);
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument) << refusal.what;
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr(refusal.message)) << refusal.what;
    EXPECT_THAT(std::string(parsed.status().message()), testing::StartsWith("m.pt: "))
        << refusal.what;
  }
}

}  // namespace
}  // namespace mneme::loader
