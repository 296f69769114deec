#include "loader/families/tensor_matcher.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

class MapFiles : public TensorFiles {
 public:
  void Add(const std::string& name, StoredDType dtype, std::vector<int64_t> shape) {
    StoredTensor& tensor = tensors_[name];
    tensor.name = name;
    tensor.file = "m.st";
    tensor.dtype = dtype;
    tensor.shape = std::move(shape);
  }
  void AddIndex(const std::string& name, const std::vector<int64_t>& values) {
    Add(name, StoredDType::kI64, {static_cast<int64_t>(values.size())});
    tensors_[name].bytes = {reinterpret_cast<const uint8_t*>(values.data()), 8 * values.size()};
  }
  const std::map<std::string, StoredTensor>& tensors() const override { return tensors_; }
  int64_t file_bytes() const override { return 0; }
  void DropPages(std::span<const uint8_t> /*part*/) const override {}

 private:
  std::map<std::string, StoredTensor> tensors_;
};

TEST(TensorMatcherTest, TakesTensorsAndTheirRows) {
  MapFiles files;
  files.Add("w", StoredDType::kBf16, {6, 4});
  const std::vector<int64_t> permutation = {2, 0, 1};
  files.AddIndex("i", permutation);
  TensorMatcher matcher(files, "m.st");
  const StoredTensor* w = matcher.Take("w", {6, 4});
  ASSERT_NE(w, nullptr);
  matcher.AddRows({Role::kFfnUp, 0}, w, 0, 3, 4);
  matcher.AddRows({Role::kFfnGate, 0}, w, 3, 3, 4);
  matcher.Add({Role::kMemoryShuffle, 0}, matcher.TakePermutation("i", 3), 1);
  matcher.AddComputed({Role::kRopeCos, -1});
  ASSERT_TRUE(matcher.Finish().ok());
  EXPECT_EQ(matcher.weights().at({Role::kFfnGate, 0}).parts.at(0).first_row, 3);
  EXPECT_EQ(matcher.weights().at({Role::kMemoryShuffle, 0}).parts.at(0).rows, 3);
  EXPECT_TRUE(matcher.weights().at({Role::kRopeCos, -1}).parts.empty());
}

TEST(TensorMatcherTest, SaysWhatIsExpectedAndWhatIsThere) {
  MapFiles files;
  files.Add("w", StoredDType::kF32, {6, 4});
  files.Add("h", StoredDType::kF16, {2});
  files.Add("d", StoredDType::kF64, {2});
  files.Add("f", StoredDType::kF32, {3});
  const std::vector<int64_t> twice = {2, 0, 2};
  files.AddIndex("i", twice);
  const auto error = [&](const std::string& name, const std::vector<int64_t>& shape) {
    TensorMatcher matcher(files, "m.st");
    EXPECT_EQ(matcher.Take(name, shape), nullptr);
    return std::string(matcher.Finish().message());
  };
  EXPECT_EQ(error("v", {1, 2}), "m.st: tensor \"v\": is missing; expected [1, 2]");
  EXPECT_EQ(error("w", {6, 5}), "m.st: tensor \"w\": expected [6, 5], file has [6, 4] F32");
  EXPECT_EQ(error("d", {2}),
            "m.st: tensor \"d\": dtype F64 is not served; served are F32, BF16 and F16");
  EXPECT_EQ(error("h", {3}), "m.st: tensor \"h\": expected [3], file has [2] F16");
  const auto permutation_error = [&](const std::string& name) {
    TensorMatcher matcher(files, "m.st");
    EXPECT_EQ(matcher.TakePermutation(name, 3), nullptr);
    return std::string(matcher.Finish().message());
  };
  EXPECT_EQ(permutation_error("w"), "m.st: tensor \"w\": expected [3], file has [6, 4] F32");
  EXPECT_EQ(permutation_error("f"), "m.st: tensor \"f\": expected dtype I64, file has F32");
  EXPECT_EQ(permutation_error("i"),
            "m.st: tensor \"i\": element 2 is 2, which is there twice: not a permutation of 0 … 2");
}

TEST(TensorMatcherTest, ExtraTensorsAreListed) {
  MapFiles files;
  files.Add("a", StoredDType::kF32, {1});
  TensorMatcher one(files, "m.st");
  EXPECT_EQ(one.Finish().message(), "m.st: 1 tensor that this model does not have: \"a\" [1] F32");
  for (const char* name : {"b", "c", "d", "e"}) files.Add(name, StoredDType::kF32, {1});
  TensorMatcher many(files, "m.st");
  EXPECT_EQ(
      many.Finish().message(),
      "m.st: 5 tensors that this model does not have: \"a\" [1] F32, \"b\" [1] F32, \"c\" [1] "
      "F32, …");
}

TEST(TensorMatcherTest, TheFirstErrorIsKept) {
  MapFiles files;
  TensorMatcher matcher(files, "m.st");
  EXPECT_TRUE(matcher.ok());
  matcher.Take("first", {1});
  matcher.Take("second", {1});
  matcher.Refuse("third", "x");
  EXPECT_FALSE(matcher.ok());
  EXPECT_EQ(matcher.Finish().message(), "m.st: tensor \"first\": is missing; expected [1]");
}

}  // namespace
}  // namespace mneme::loader
