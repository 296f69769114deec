#include "loader/pack/in_place.h"

#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "loader/pack/memory_files.h"
#include "loader/pack/packed_weights.h"

namespace mneme::loader {
namespace {

using kernels::Bf16;
using kernels::DType;

constexpr WeightId kTable{Role::kMemoryTable, -1};
constexpr int64_t kRows = 37;
constexpr int64_t kPre = 5;
constexpr int64_t kWidth = 14;
constexpr int64_t kStride = 32;  // floats: 19 and 13 of padding

// A table with its parts apart, and the same values interleaved.
struct Tables {
  explicit Tables(int64_t stride = kStride, int64_t misaligned = 0) {
    auto files = std::make_shared<MemoryFiles>();
    const StoredTensor* pre = files->Add("pre", {kRows, kPre}, 1000);
    const StoredTensor* values = files->Add("values", {kRows, kWidth}, 5000);
    StoredTensor* both = files->New("both", {kRows, stride}, StoredDType::kF32, misaligned);
    for (int64_t r = 0; r < kRows; ++r) {
      uint8_t* row = const_cast<uint8_t*>(both->bytes.data()) + r * stride * 4;
      std::memcpy(row, pre->bytes.data() + r * kPre * 4, kPre * 4);
      std::memcpy(row + kPre * 4, values->bytes.data() + r * kWidth * 4, kWidth * 4);
    }
    apart.files = files;
    apart.weights[kTable].parts = {{pre, 0, kRows, kPre}, {values, 0, kRows, kWidth}};
    together.files = files;
    together.weights[kTable].parts = {{both, 0, kRows, kPre, 0, stride},
                                      {both, 0, kRows, kWidth, kPre, stride}};
  }

  Checkpoint apart;
  Checkpoint together;
};

PackedWeights Pack(const Checkpoint& checkpoint, const WeightId& id, const WeightSlice& slice,
                   const PackOptions& options) {
  auto packed = PackedWeights::Pack(checkpoint, {id}, {{id, slice}}, options);
  EXPECT_TRUE(packed.ok()) << packed.status();
  return *std::move(packed);
}

// Same shape, same bytes, padding included.
void ExpectSameTable(const PackedTable& a, const PackedTable& b) {
  EXPECT_EQ(a.rows, b.rows);
  EXPECT_EQ(a.dtype, b.dtype);
  EXPECT_EQ(a.pre_width, b.pre_width);
  EXPECT_EQ(a.width, b.width);
  ASSERT_EQ(a.row_stride_bytes, b.row_stride_bytes);
  EXPECT_EQ(std::memcmp(a.data, b.data, static_cast<size_t>(a.rows * a.row_stride_bytes)), 0);
}

TEST(InPlaceTest, AnInterleavedTableStaysWhereItLies) {
  const Tables tables;
  EXPECT_FALSE(StaysInPlace(tables.apart, kTable, {}, {}));
  EXPECT_TRUE(StaysInPlace(tables.together, kTable, {}, {}));
  const PackedWeights apart = Pack(tables.apart, kTable, {}, {});
  const PackedWeights together = Pack(tables.together, kTable, {}, {});
  const PackedWeight& weight = together.at(kTable);
  EXPECT_TRUE(weight.in_place);
  EXPECT_EQ(together.owned_bytes(), 0);
  EXPECT_EQ(weight.bytes, apart.at(kTable).bytes);
  EXPECT_EQ(weight.table.data, tables.together.files->tensors().at("both").bytes.data());
  ExpectSameTable(weight.table, apart.at(kTable).table);
}

TEST(InPlaceTest, ATableInOtherRowsIsPackedAnew) {
  for (const Tables& tables : {Tables(kStride + 16), Tables(kStride, /*misaligned=*/4)}) {
    EXPECT_FALSE(StaysInPlace(tables.together, kTable, {}, {}));
    const PackedWeights apart = Pack(tables.apart, kTable, {}, {});
    const PackedWeights together = Pack(tables.together, kTable, {}, {});
    EXPECT_FALSE(together.at(kTable).in_place);
    EXPECT_EQ(together.owned_bytes(), kRows * kStride * 4);
    ExpectSameTable(together.at(kTable).table, apart.at(kTable).table);
  }
}

TEST(InPlaceTest, PartsAndConversionsOfAnInterleavedTableAreThoseOfItsColumns) {
  const Tables tables;
  WeightSlice rows;
  rows.block = 4;
  rows.ranks = 3;
  rows.rank = 1;
  WeightSlice columns;
  columns.pre_cols = {.first = 2, .size = 3};
  columns.cols = {.first = 4, .size = 7};
  const PackOptions copies{.copy_mapped = true};
  const PackOptions rounds{.round_to_bf16 = true};
  const struct {
    WeightSlice slice;
    PackOptions options;
  } cases[] = {{columns, {}}, {columns, rounds}, {rows, rounds},   {rows, copies},
               {{}, rounds},  {{}, copies},      {columns, copies}};
  for (const auto& c : cases) {
    EXPECT_FALSE(StaysInPlace(tables.together, kTable, c.slice, c.options));
    const PackedWeights apart = Pack(tables.apart, kTable, c.slice, c.options);
    const PackedWeights together = Pack(tables.together, kTable, c.slice, c.options);
    EXPECT_EQ(together.at(kTable).part, !c.slice.whole());
    ExpectSameTable(together.at(kTable).table, apart.at(kTable).table);
  }
  // Of rows that are a rank's by turns the whole is kept: only what is read takes memory.
  EXPECT_TRUE(StaysInPlace(tables.together, kTable, rows, {}));
  const PackedWeights mapped = Pack(tables.together, kTable, rows, {});
  EXPECT_FALSE(mapped.at(kTable).part);
  EXPECT_EQ(mapped.at(kTable).table.rows, kRows);
}

TEST(InPlaceTest, ATableOfPartsThatDoNotLieSideBySideIsCopied) {
  Tables tables;
  std::vector<WeightSource::Part>& parts = tables.together.weights[kTable].parts;
  const std::vector<WeightSource::Part> good = parts;
  ASSERT_TRUE(StaysInPlace(tables.together, kTable, {}, {}));
  parts[1].first_col = kPre + 1;
  EXPECT_FALSE(StaysInPlace(tables.together, kTable, {}, {}));
  parts = good;
  parts[1].first_row = 1;
  EXPECT_FALSE(StaysInPlace(tables.together, kTable, {}, {}));
  parts = good;
  parts[0].tensor = tables.apart.weights[kTable].parts[0].tensor;
  EXPECT_FALSE(StaysInPlace(tables.together, kTable, {}, {}));
}

// A model with keys of [4, 2 * 1], their norms and RoPE tables of 8 positions as converted.
struct Computed {
  Computed() {
    auto files = std::make_shared<MemoryFiles>();
    keys = files->Add("keys", {4, 2}, 0.1f);
    norms = files->Add("norms", {4, 1}, 70);
    rope = files->Add("rope", {8, 3}, 90);
    shuffle = files->New("shuffle", {16}, StoredDType::kI32);
    checkpoint.files = files;
    checkpoint.model.max_sequence_length = 8;
    checkpoint.model.attention.head_dim = 6;
    checkpoint.model.memory.emplace();
    checkpoint.model.memory->key_dim = 2;
    checkpoint.model.memory->keys_norm.emplace();
    checkpoint.weights[kNorm].parts = {{keys, 0, 4, 2}};
    checkpoint.weights[kNorm].computed = norms;
    checkpoint.weights[kCos].computed = rope;
    checkpoint.weights[kSin];
    checkpoint.weights[kShuffle].parts = {{shuffle, 0, 16, 1}};
  }
  static constexpr WeightId kNorm{Role::kMemoryKeyInverseNorm, 0};
  static constexpr WeightId kCos{Role::kRopeCos, -1};
  static constexpr WeightId kSin{Role::kRopeSin, -1};
  static constexpr WeightId kShuffle{Role::kMemoryShuffle, 0};
  const StoredTensor* keys = nullptr;
  const StoredTensor* norms = nullptr;
  const StoredTensor* rope = nullptr;
  const StoredTensor* shuffle = nullptr;
  Checkpoint checkpoint;
};

TEST(InPlaceTest, WhatWasComputedIsUsedAsLongAsItHolds) {
  Computed c;
  const auto data = [&c](const WeightId& id, const PackOptions& options) {
    return Pack(c.checkpoint, id, {}, options).at(id).view.data;
  };
  EXPECT_EQ(data(Computed::kNorm, {}), c.norms->bytes.data());
  EXPECT_EQ(data(Computed::kNorm, {.widen_to_f32 = true}), c.norms->bytes.data());
  EXPECT_EQ(data(Computed::kNorm, {.copy_mapped = true}), c.norms->bytes.data());
  // The norms of rounded keys are others.
  const PackedWeights rounded = Pack(c.checkpoint, Computed::kNorm, {}, {.round_to_bf16 = true});
  const auto inverse = rounded.at(Computed::kNorm).view.As<float>();
  const float a = kernels::ToFloat(kernels::ToBf16(0.1f));
  const float b = kernels::ToFloat(kernels::ToBf16(1.1f));
  EXPECT_NEAR(inverse.data[0], 1 / std::sqrt((a * a + b * b) / 2 + 1e-5), 1e-6);
  EXPECT_NE(rounded.at(Computed::kNorm).view.data, c.norms->bytes.data());
  EXPECT_EQ(data(Computed::kShuffle, {}), c.shuffle->bytes.data());
}

TEST(InPlaceTest, NormsAreCutWhereTheirKeysAre) {
  Computed c;
  c.checkpoint.weights[{Role::kMemoryKeys, 0}].parts = c.checkpoint.weights[Computed::kNorm].parts;
  WeightSlice slice;
  slice.rows = {.first = 1, .size = 1, .chunks = 2};  // rows 1 and 3
  const PackedWeights whole = Pack(c.checkpoint, Computed::kNorm, slice, {});
  EXPECT_FALSE(whole.at(Computed::kNorm).part);
  EXPECT_EQ(whole.at(Computed::kNorm).view.data, c.norms->bytes.data());
  // Copied keys, and rounded ones: of both only the part is there, and of the norms, too.
  for (const PackOptions& options :
       {PackOptions{.copy_mapped = true}, PackOptions{.round_to_bf16 = true}}) {
    const PackedWeights cut = Pack(c.checkpoint, Computed::kNorm, slice, options);
    EXPECT_TRUE(cut.at(Computed::kNorm).part);
    const auto norms = cut.at(Computed::kNorm).view.As<float>();
    c.checkpoint.weights[Computed::kNorm].computed = nullptr;
    const PackedWeights computed = Pack(c.checkpoint, Computed::kNorm, {}, options);
    c.checkpoint.weights[Computed::kNorm].computed = c.norms;
    const auto expected = computed.at(Computed::kNorm).view.As<float>();
    ASSERT_EQ(norms.rows, 2);
    EXPECT_EQ(norms.row(0)[0], expected.row(1)[0]);
    EXPECT_EQ(norms.row(1)[0], expected.row(3)[0]);
  }
}

TEST(InPlaceTest, RopeTablesOfMorePositionsServeFewer) {
  Computed c;
  const auto packed = [&c] { return Pack(c.checkpoint, Computed::kCos, {}, {}); };
  EXPECT_EQ(packed().at(Computed::kCos).view.data, c.rope->bytes.data());
  c.checkpoint.model.max_sequence_length = 5;
  const PackedWeights fewer = packed();
  EXPECT_EQ(fewer.at(Computed::kCos).view.data, c.rope->bytes.data());
  EXPECT_EQ(fewer.at(Computed::kCos).view.rows, 5);
  EXPECT_EQ(fewer.at(Computed::kCos).view.cols, 3);
  c.checkpoint.model.max_sequence_length = 9;
  const PackedWeights more = packed();
  EXPECT_FALSE(more.at(Computed::kCos).in_place);
  EXPECT_EQ(more.at(Computed::kCos).view.rows, 9);
}

TEST(InPlaceTest, MatricesAreCopiedWhereThatIsAsked) {
  auto files = std::make_shared<MemoryFiles>();
  const StoredTensor* matrix = files->Add("m", {6, 4}, 0);
  Checkpoint checkpoint;
  checkpoint.files = files;
  const WeightId query{Role::kQuery, 0};
  const WeightId bias{Role::kQueryBias, 0};
  const WeightId gate{Role::kExpertGate, 0};
  checkpoint.weights[query].parts = {{matrix, 0, 6, 4}};
  checkpoint.weights[bias].parts = {{matrix, 0, 6, 1, 0, 1}};
  checkpoint.weights[gate].parts = {{matrix, 2, 2, 4}, {matrix, 0, 2, 4}};
  const PackOptions copies{.copy_mapped = true};
  WeightSlice columns;
  columns.cols = {.first = 1, .size = 2};
  WeightSlice rows;
  rows.rows = {.first = 1, .size = 1};
  for (const WeightId& id : {query, gate}) {
    EXPECT_TRUE(StaysInPlace(checkpoint, id, {}, {}));
    EXPECT_FALSE(StaysInPlace(checkpoint, id, {}, copies));
    EXPECT_FALSE(StaysInPlace(checkpoint, id, columns, {}));
    EXPECT_TRUE(StaysInPlace(checkpoint, id, rows, {}));
    const PackedWeights copied = Pack(checkpoint, id, {}, copies);
    const PackedWeights mapped = Pack(checkpoint, id, {}, {});
    EXPECT_FALSE(copied.at(id).in_place);
    EXPECT_TRUE(mapped.at(id).in_place);
    EXPECT_EQ(copied.at(id).bytes, mapped.at(id).bytes);
    EXPECT_EQ(std::memcmp(copied.at(id).view.data, mapped.at(id).view.data, 2 * 4 * 4), 0);
  }
  EXPECT_TRUE(StaysInPlace(checkpoint, bias, {}, copies));
  EXPECT_FALSE(StaysInPlace(checkpoint, {Role::kKey, 0}, {}, {}));
}

}  // namespace
}  // namespace mneme::loader
