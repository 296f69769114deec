#include "engine/runtime/combine_results.h"

#include <vector>

#include "gtest/gtest.h"

namespace mneme::runtime {
namespace {

TEST(CombinedResultTest, BytesAddUpAndTheRestIsTheFronts) {
  const float logits[] = {1, 2};
  const std::vector<double> rows = {1, 2};
  const std::vector<double> experts = {100, 200};
  const std::vector<double> kv = {10, 20};
  StepResult front;
  front.logits = kernels::MakeMatrix<const float>(logits, 1, 2);
  front.traffic.Read(kernels::TrafficClass::kKv, 30);
  front.token_value_row_bytes = rows;
  front.token_expert_bytes = experts;
  front.token_kv_bytes = kv;
  front.step_seconds = 0.5;
  CombinedResult combined(4);
  combined.Start(front);
  kernels::Traffic traffic;
  traffic.Read(kernels::TrafficClass::kKv, 7);
  combined.Add(traffic, {}, std::vector<double>{3, 4}, std::vector<double>{7, 8},
               std::vector<double>{5, 2});
  const StepResult& result = combined.result();
  EXPECT_EQ(result.logits.data, logits);
  EXPECT_EQ(result.step_seconds, 0.5);
  EXPECT_EQ(result.traffic.read_bytes[static_cast<int>(kernels::TrafficClass::kKv)], 37u);
  EXPECT_EQ(
      std::vector<double>(result.token_value_row_bytes.begin(), result.token_value_row_bytes.end()),
      (std::vector<double>{4, 6}));
  EXPECT_EQ(std::vector<double>(result.token_expert_bytes.begin(), result.token_expert_bytes.end()),
            (std::vector<double>{107, 208}));
  EXPECT_EQ(std::vector<double>(result.token_kv_bytes.begin(), result.token_kv_bytes.end()),
            (std::vector<double>{15, 22}));
  EXPECT_EQ(rows[0], 1) << "the front's own numbers stay";
  combined.Fail(absl::UnavailableError("gone"));
  EXPECT_EQ(combined.result().status.message(), "gone");
  EXPECT_EQ(combined.result().logits.data, nullptr);
}

class TraceAssemblerTest : public ::testing::Test {
 protected:
  TraceAssemblerTest() {
    plan_.mutable_cluster()->set_ranks(2);
    for (const char* name : {"split", "partial", "dropped", "rows"}) {
      v1::Register* reg = plan_.add_registers();
      reg->set_name(name);
      reg->set_type(v1::F32);
      reg->set_cols(3);
      reg->set_kept(std::string(name) != "dropped");
    }
    v1::Layout* split = plan_.mutable_registers(0)->mutable_layout();
    split->set_kind(v1::Layout::SPLIT);
    split->set_axis(1);
    for (const auto& [begin, end] : {std::pair(0, 2), std::pair(2, 3)}) {
      split->add_parts()->set_begin(begin);
      split->mutable_parts(split->parts_size() - 1)->set_end(end);
    }
    plan_.mutable_registers(1)->mutable_layout()->set_kind(v1::Layout::PARTIAL);
    plan_.mutable_registers(3)->mutable_layout()->set_kind(v1::Layout::SPLIT);
    plan_.mutable_registers(3)->set_type(v1::I32);
  }

  kernels::TensorView Assemble(const char* name, uint64_t step) {
    return assembler_.Assemble(plan_, name, step, [this](int32_t rank, int32_t reg) {
      ++asked_;
      const int64_t cols = reg == 1 ? 3 : rank == 0 ? 2 : 1;
      return kernels::MakeTensorView(
          kernels::MakeMatrix<const float>(values_[rank].data(), 1, cols));
    });
  }

  v1::Plan plan_;
  std::vector<std::vector<float>> values_ = {{1, 2, 3}, {10, 20, 30}};
  TraceAssembler assembler_;
  int asked_ = 0;
};

TEST_F(TraceAssemblerTest, PartsStandSideBySideAndAddendsAreSummed) {
  const auto split = Assemble("split", 1).As<float>();
  ASSERT_EQ(split.cols, 3);
  EXPECT_EQ(std::vector<float>(split.row(0), split.row(0) + 3), (std::vector<float>{1, 2, 10}));
  const auto partial = Assemble("partial", 1).As<float>();
  EXPECT_EQ(std::vector<float>(partial.row(0), partial.row(0) + 3),
            (std::vector<float>{11, 22, 33}));
}

TEST_F(TraceAssemblerTest, RowsStandOneBelowTheOther) {
  const std::vector<std::vector<int32_t>> indices = {{1, 2, 3}, {4, 5, 6, 7, 8, 9}};
  const auto rows =
      assembler_
          .Assemble(plan_, "rows", 1,
                    [&](int32_t rank, int32_t) {
                      return kernels::MakeTensorView(
                          kernels::MakeMatrix<const int32_t>(indices[rank].data(), rank + 1, 3));
                    })
          .As<int32_t>();
  ASSERT_EQ(rows.rows, 3);
  for (int32_t i = 0; i < 9; ++i) EXPECT_EQ(rows.row(i / 3)[i % 3], i + 1);
}

TEST_F(TraceAssemblerTest, OnceAStep) {
  Assemble("split", 1);
  Assemble("split", 1);
  EXPECT_EQ(asked_, 2);
  values_[1][0] = 7;
  EXPECT_EQ(Assemble("split", 2).As<float>().row(0)[2], 7);
}

TEST_F(TraceAssemblerTest, WhatIsNotKeptIsNotThere) {
  EXPECT_EQ(Assemble("dropped", 1).data, nullptr);
  EXPECT_EQ(Assemble("unknown", 1).data, nullptr);
}

}  // namespace
}  // namespace mneme::runtime
