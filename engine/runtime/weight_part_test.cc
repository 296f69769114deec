#include "engine/runtime/weight_part.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::runtime {
namespace {

v1::Weight Planned(std::vector<int64_t> shape, int axis, std::vector<int64_t> cuts, int rank,
                   int chunks = 0) {
  v1::Weight w;
  w.set_name("block.1.query");
  w.set_type(v1::F32);
  w.mutable_layout()->set_kind(v1::Layout::SPLIT);
  w.mutable_layout()->set_axis(axis);
  w.mutable_layout()->set_chunks(chunks);
  for (size_t r = 0; r + 1 < cuts.size(); ++r) {
    v1::Layout::Part* part = w.mutable_layout()->add_parts();
    part->set_begin(cuts[r]);
    part->set_end(cuts[r + 1]);
  }
  for (int64_t extent : shape) w.add_shape(extent);
  axis == 0 ? w.set_first_row(cuts[rank]) : w.set_first_col(cuts[rank]);
  return w;
}

loader::PackedWeight Whole(const std::vector<float>& data, int64_t rows, int64_t cols) {
  loader::PackedWeight whole;
  whole.view = {data.data(), kernels::DType::kF32, rows, cols, cols};
  whole.bytes = rows * cols * 4;
  return whole;
}

TEST(WeightPartTest, RowsColumnsAndVectorsAreViews) {
  std::vector<float> data(48);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<float>(i);
  const loader::PackedWeight whole = Whole(data, 6, 8);
  const v1::Weight rows = Planned({2, 8}, 0, {0, 4, 6}, 1);
  ASSERT_TRUE(CheckWeight(rows, whole).ok()) << CheckWeight(rows, whole);
  EXPECT_EQ(PartOf(rows, whole).view.As<float>().row(1)[0], 40);
  const v1::Weight cols = Planned({6, 3}, 1, {0, 5, 8}, 1);
  ASSERT_TRUE(CheckWeight(cols, whole).ok());
  EXPECT_EQ(PartOf(cols, whole).view.cols, 3);
  EXPECT_EQ(PartOf(cols, whole).view.As<float>().row(2)[0], 2 * 8 + 5);
  // A vector is stored as one column.
  const loader::PackedWeight vector = Whole(data, 48, 1);
  const v1::Weight part = Planned({1, 8}, 1, {0, 40, 48}, 1);
  ASSERT_TRUE(CheckWeight(part, vector).ok());
  EXPECT_EQ(PartOf(part, vector).view.As<float>().row(0)[0], 40);
}

TEST(WeightPartTest, ChunksAreCutAlike) {
  std::vector<float> data(48);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<float>(i);
  // Three chunks of two rows: the second rank has the second row of each.
  const loader::PackedWeight whole = Whole(data, 6, 8);
  const v1::Weight rows = Planned({3, 8}, 0, {0, 1, 2}, 1, 3);
  ASSERT_TRUE(CheckWeight(rows, whole).ok()) << CheckWeight(rows, whole);
  const loader::PackedWeight part = PartOf(rows, whole);
  EXPECT_EQ(part.chunk_stride, 2);
  EXPECT_EQ(part.view.rows, 3);
  const auto matrix = part.view.As<float>();
  EXPECT_EQ(matrix.row(0)[0], 8);
  EXPECT_EQ(matrix.row(2 * part.chunk_stride)[0], 40);
  // Two chunks of four columns.
  const v1::Weight cols = Planned({6, 2}, 1, {0, 3, 4}, 1, 2);
  ASSERT_TRUE(CheckWeight(cols, whole).ok());
  EXPECT_EQ(PartOf(cols, whole).chunk_stride, 4);
  EXPECT_EQ(PartOf(cols, whole).view.As<float>().row(0)[4], 7);
}

TEST(WeightPartTest, AnotherWeightIsRefusedByName) {
  const std::vector<float> data(48);
  for (const v1::Weight& w : {Planned({2, 8}, 0, {0, 4, 7}, 1), Planned({6, 3}, 1, {0, 5, 9}, 1),
                              Planned({3, 8}, 0, {0, 1, 2}, 1, 4)}) {
    const absl::Status status = CheckWeight(w, Whole(data, 6, 8));
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(status.message().find("weight block.1.query: the plan has ["), std::string::npos);
  }
}

TEST(WeightPartTest, ATableIsCheckedByItsCutsAndStaysWhole) {
  v1::Weight w = Planned({50, 24}, 1, {0, 20, 32}, 1);
  w.set_value_table(true);
  w.set_shape(1, 12 + 6);
  for (const auto& [begin, end] : {std::pair(0, 10), std::pair(10, 16)}) {
    v1::Layout::Part* part = w.mutable_layout()->add_pre_parts();
    part->set_begin(begin);
    part->set_end(end);
  }
  loader::PackedWeight whole;
  whole.table = {nullptr, 50, 192, kernels::DType::kF32, 16, 32};
  whole.bytes = 50 * 192;
  EXPECT_TRUE(CheckWeight(w, whole).ok()) << CheckWeight(w, whole);
  EXPECT_EQ(PartOf(w, whole).table.width, 32);
  whole.table.width = 33;
  EXPECT_FALSE(CheckWeight(w, whole).ok());
  // Rows in blocks.
  v1::Weight rows;
  rows.set_type(v1::F32);
  rows.set_value_table(true);
  rows.add_shape(24);
  rows.add_shape(48);
  rows.set_first_row(4);
  rows.mutable_layout()->set_kind(v1::Layout::SPLIT);
  rows.mutable_layout()->set_block(4);
  whole.table.width = 32;
  EXPECT_TRUE(CheckWeight(rows, whole).ok()) << CheckWeight(rows, whole);
  rows.set_shape(0, 51);
  EXPECT_FALSE(CheckWeight(rows, whole).ok());
}

}  // namespace
}  // namespace mneme::runtime
