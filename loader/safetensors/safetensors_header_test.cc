#include "loader/safetensors/safetensors_header.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "loader/text/text.h"

namespace mneme::loader {
namespace {

using testing::HasSubstr;

std::string Length(uint64_t length) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(length >> (8 * i)));
  return bytes;
}

std::string File(const std::string& header, size_t data_bytes) {
  return Length(header.size()) + header + std::string(data_bytes, '\x01');
}

absl::StatusOr<SafetensorsHeader> Parse(const std::string& file) {
  return ParseSafetensors({reinterpret_cast<const uint8_t*>(file.data()), file.size()}, "f.st");
}

// One tensor "t" with these fields.
std::string One(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"t":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets +
         "}}";
}

TEST(SafetensorsHeaderTest, ReadsTensorsAndMetadata) {
  const std::string file =
      File(R"({"__metadata__":{"k":"v"},"b":{"shape":[2],"dtype":"BF16","data_offsets":[8,12]},)"
           R"("a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}   )",
           12);
  const auto header = Parse(file);
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->metadata.at("k"), "v");
  EXPECT_EQ(header->tensors.at("a").Describe(), "[1, 2] F32");
  EXPECT_EQ(header->tensors.at("b").Describe(), "[2] BF16");
  EXPECT_EQ(header->tensors.at("b").bytes.data(),
            reinterpret_cast<const uint8_t*>(file.data()) + file.size() - 4);
}

TEST(SafetensorsHeaderTest, ZeroSizeAndRankZeroTensorsAreFine) {
  const auto header = Parse(File(R"({"z":{"dtype":"F32","shape":[3,0],"data_offsets":[4,4]},)"
                                 R"("s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
                                 R"("y":{"dtype":"I64","shape":[0],"data_offsets":[0,0]}})",
                                 4));
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->tensors.at("s").elements(), 1);
  EXPECT_EQ(header->tensors.at("z").elements(), 0);
}

std::string Repeat(const std::string& text, int times) {
  std::string repeated;
  for (int i = 0; i < times; ++i) repeated += text;
  return repeated;
}

struct Refusal {
  const char* what;
  std::string file;
  std::string message;
};

std::vector<Refusal> FileRefusals() {
  return {
      {"empty file", "", "f.st: has 0 bytes, too few"},
      {"short file", "1234567", "f.st: has 7 bytes, too few"},
      {"length over the limit", Length(100'000'001) + "{}",
       "f.st: header length 100000001 is more than 100000000"},
      {"length 2^64 - 1", Length(~uint64_t{0}) + "{}", "f.st: header length 18446744073709551615"},
      {"length past the end", Length(3) + "{}", "header length 3 is past the end: 2 bytes"},
      {"no header", Length(0), "must start with \"{\", not nothing"},
      {"leading space", File(" {}", 0), "must start with \"{\", not \" \""},
      {"byte order mark", File("\xef\xbb\xbf{}", 0), "must start with \"{\""},
      {"not UTF-8", File("{\"\xff\":{}}", 0), "not UTF-8 at its byte 2"},
      {"not JSON", File("{nonsense}", 0), "not valid JSON at its byte 3"},
      {"cut off", File(R"({"t":{"dtype":"F32")", 0), "not valid JSON"},
      {"two values", File("{}{}", 0), "not valid JSON at its byte 3"},
      {"a zero after it", File(std::string("{}\0x", 4), 0), "header has a zero byte, its byte 2"},
      {"deep nesting", File("{\"a\":" + std::string(1'000'000, '['), 0),
       "entry \"a\": expected an object, not an array"},
      {"deep objects", File("{\"a\":{\"dtype\":{\"b\":{", 0),
       "tensor \"a\": dtype: expected a string, not an object"},
      {"trailing bytes", File("{}", 1), "the tensors end at byte 0 of the data, which has 1"},
  };
}

std::vector<Refusal> EntryRefusals() {
  return {
      {"a number for a tensor", File(R"({"t":3})", 0), "entry \"t\": expected an object, not 3"},
      {"non-string metadata", File(R"({"__metadata__":{"k":1}})", 0),
       "__metadata__ \"k\": expected a string, not 1"},
      {"metadata null", File(R"({"__metadata__":{"k":null}})", 0), "expected a string, not null"},
      {"metadata is no object", File(R"({"__metadata__":"v"})", 0),
       "expected an object, not \"v\""},
      {"metadata twice", File(R"({"__metadata__":{},"__metadata__":{}})", 0),
       "duplicate name \"__metadata__\""},
      {"metadata key twice", File(R"({"__metadata__":{"k":"1","k":"2"}})", 0),
       "__metadata__: duplicate key \"k\""},
      {"duplicate names",
       File(R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
            R"("t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
            1),
       "duplicate tensor name \"t\""},
      {"duplicate field", File(R"({"t":{"dtype":"U8","dtype":"U8"}})", 0),
       "tensor \"t\": duplicate dtype"},
      {"unknown field", File(R"({"t":{"strides":[1]}})", 0), "unknown field \"strides\""},
      {"no dtype", File(R"({"t":{"shape":[],"data_offsets":[0,0]}})", 0), "\"t\": no dtype"},
      {"no shape", File(R"({"t":{"dtype":"U8","data_offsets":[0,0]}})", 0), "\"t\": no shape"},
      {"no offsets", File(R"({"t":{"dtype":"U8","shape":[]}})", 0), "\"t\": no data_offsets"},
      {"unknown dtype", File(One("F8_E4M3", "[1]", "[0,1]"), 1), "unknown dtype \"F8_E4M3\""},
      {"dtype is a number", File(R"({"t":{"dtype":1}})", 0), "dtype: expected a string, not 1"},
      {"shape is a number", File(R"({"t":{"shape":1}})", 0), "shape: expected an array, not 1"},
      {"string in the shape", File(R"({"t":{"shape":["1"]}})", 0), "expected whole numbers"},
      {"nested shape", File(R"({"t":{"shape":[[1]]}})", 0), "expected whole numbers, not an array"},
      {"negative size", File(One("U8", "[-1]", "[0,1]"), 1), "shape: -1 is negative"},
      {"fractional size", File(One("U8", "[1.5]", "[0,1]"), 1), "shape: 1.5 is fractional"},
      {"float size", File(One("U8", "[1.0]", "[0,1]"), 1), "shape: 1.0 is fractional"},
      {"negative offset", File(One("U8", "[1]", "[-1,0]"), 1), "data_offsets: -1 is negative"},
      {"size over 2^63", File(One("U8", "[9223372036854775808]", "[0,1]"), 1), "is too large"},
      {"size over 2^64", File(One("U8", "[99999999999999999999]", "[0,1]"), 1), "too large"},
      {"one offset", File(One("U8", "[1]", "[0]"), 1), "data_offsets: 1 numbers instead of 2"},
      {"three offsets", File(One("U8", "[1]", "[0,1,2]"), 1), "more than 2 numbers"},
      {"65 dimensions", File(One("U8", "[1" + Repeat(",1", 64) + "]", "[0,1]"), 1),
       "shape: more than 64 numbers"},
  };
}

std::vector<Refusal> SpanRefusals() {
  const auto two = [](const std::string& first, const std::string& second) {
    return R"({"a":{"dtype":"U8","shape":[2],"data_offsets":)" + first +
           R"(},"b":{"dtype":"U8","shape":[2],"data_offsets":)" + second + "}}";
  };
  return {
      {"offsets beyond the file", File(One("U8", "[4]", "[0,4]"), 3),
       "data_offsets [0, 4] are beyond the data, which has 3 bytes"},
      {"offsets backwards", File(One("U8", "[1]", "[1,0]"), 1), "[1, 0] end before they begin"},
      {"span too long", File(One("F32", "[2]", "[0,12]"), 12),
       "tensor \"t\": [2] F32 has 8 bytes, but data_offsets [0, 12] span 12"},
      {"span too short", File(One("F32", "[2]", "[0,4]"), 4), "has 8 bytes"},
      {"product overflows to 0", File(One("F32", "[4294967296,4294967296]", "[0,0]"), 0),
       "[4294967296, 4294967296] F32 has more bytes than can be counted"},
      {"product overflows, times 0", File(One("U8", "[4294967296,4294967296,0]", "[0,0]"), 0),
       "more bytes than can be counted"},
      {"bytes overflow", File(One("F64", "[2305843009213693952]", "[0,0]"), 0),
       "more bytes than can be counted"},
      {"gap at the start", File(One("U8", "[1]", "[1,2]"), 2),
       "tensor \"t\": data_offsets [1, 2] leave a gap after the header, which ends at 0"},
      {"gap", File(two("[0,2]", "[3,5]"), 5),
       "tensor \"b\": data_offsets [3, 5] leave a gap after tensor \"a\", which ends at 2"},
      {"overlap", File(two("[0,2]", "[1,3]"), 3),
       "tensor \"b\": data_offsets [1, 3] overlap tensor \"a\", which ends at 2"},
      {"the same bytes twice", File(two("[0,2]", "[0,2]"), 2), "overlap tensor \"a\""},
      {"an empty tensor inside another",
       File(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
            R"("b":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}})",
            2),
       "overlap"},
      {"uncovered bytes", File(One("U8", "[1]", "[0,1]"), 9),
       "the tensors end at byte 1 of the data, which has 9 bytes"},
  };
}

void ExpectRefused(const std::vector<Refusal>& refusals) {
  for (const Refusal& refusal : refusals) {
    const auto header = Parse(refusal.file);
    EXPECT_EQ(header.status().code(), absl::StatusCode::kInvalidArgument) << refusal.what;
    EXPECT_THAT(std::string(header.status().message()), HasSubstr(refusal.message)) << refusal.what;
    EXPECT_THAT(std::string(header.status().message()), testing::StartsWith("f.st: "))
        << refusal.what;
    EXPECT_LT(header.status().message().size(), 400u) << refusal.what;
  }
}

TEST(SafetensorsHeaderTest, RefusesMalformedFiles) { ExpectRefused(FileRefusals()); }
TEST(SafetensorsHeaderTest, RefusesMalformedEntries) { ExpectRefused(EntryRefusals()); }
TEST(SafetensorsHeaderTest, RefusesWrongSpans) { ExpectRefused(SpanRefusals()); }

TEST(SafetensorsHeaderTest, RefusesMoreTensorsThanItsLimit) {
  std::string header = "{";
  for (int64_t i = 0; i <= kMaxTensors; ++i) {
    if (i > 0) header += ",";
    header += "\"" + std::to_string(i) + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  }
  const auto parsed = Parse(File(header + "}", 0));
  EXPECT_THAT(std::string(parsed.status().message()), HasSubstr("more than 262144 tensors"));
}

// A header whose metadata has this many entries.
std::string Metadata(int64_t entries) {
  std::string header = R"({"__metadata__":{)";
  for (int64_t i = 0; i < entries; ++i) {
    if (i > 0) header += ",";
    header += "\"" + std::to_string(i) + R"(":"")";
  }
  return header + "}}";
}

TEST(SafetensorsHeaderTest, RefusesMoreMetadataThanItsLimit) {
  EXPECT_TRUE(Parse(File(Metadata(kMaxMetadata), 0)).ok());
  EXPECT_EQ(Parse(File(Metadata(kMaxMetadata + 1), 0)).status().message(),
            "f.st: __metadata__: more than 65536 entries");
}

TEST(SafetensorsHeaderTest, LongNamesAreShortenedInMessages) {
  const std::string name(1'000'000, 'n');
  const auto parsed = Parse(File("{\"" + name + "\":7}", 0));
  EXPECT_LT(parsed.status().message().size(), 400u);
}

TEST(SafetensorsHeaderTest, TheLongestMessagesKeepToTheirBound) {
  std::string names;  // of control characters, which need six bytes each in the file
  for (int i = 0; i < 1000; ++i) names += "\\u0001";
  const auto tensor = [&names](const char* last, const std::string& offsets) {
    return "\"" + names + last + R"(":{"dtype":"U8","shape":[2],"data_offsets":)" + offsets + "}";
  };
  const auto overlap =
      Parse(File("{" + tensor("a", "[0,2]") + "," + tensor("b", "[1,3]") + "}", 3));
  EXPECT_THAT(std::string(overlap.status().message()), HasSubstr("overlap tensor"));
  EXPECT_LT(overlap.status().message().size(), kMaxMessageBytes);
  std::string shape = "[9223372036854775807";
  for (int i = 1; i < 64; ++i) shape += ",9223372036854775807";
  const auto uncountable = Parse(File(One("U8", shape + "]", "[0,1]"), 1));
  EXPECT_THAT(std::string(uncountable.status().message()),
              HasSubstr(", ... 64 in all] U8 has more bytes than can be counted"));
  EXPECT_LT(uncountable.status().message().size(), kMaxMessageBytes);
}

}  // namespace
}  // namespace mneme::loader
