#include "engine/ranks/protocol.h"

#include "engine/plan/explain.h"
#include "gtest/gtest.h"

namespace mneme::ranks {
namespace {

v1::RankSetup MakeSetup() {
  v1::RankSetup setup;
  setup.set_build("1.2.3");
  setup.set_rank(1);
  setup.mutable_plan()->mutable_cluster()->set_ranks(2);
  setup.set_plan_hash(plan::PlanHash(setup.plan()));
  return setup;
}

TEST(ProtocolTest, AMessageAndADescriptorComeThrough) {
  const Channel::Pair pair = *Channel::MakePair();
  Channel one(pair.mine, 1 << 20);
  Channel other(pair.theirs, 1 << 20);
  const auto end = Channel::Clock::now() + std::chrono::seconds(60);
  ASSERT_TRUE(SendMessage(&one, FrameKind::kSetup, MakeSetup(), end).ok());
  Frame frame;
  ASSERT_TRUE(other.Receive(std::chrono::microseconds(0), end, &frame).ok());
  v1::RankSetup got;
  ASSERT_TRUE(ParseMessage(frame, &got).ok());
  EXPECT_EQ(got.SerializeAsString(), MakeSetup().SerializeAsString());
  frame.payload = {0xff, 0xff, 0xff};
  EXPECT_EQ(ParseMessage(frame, &got).message(), "frame 1 of 3 bytes is no mneme.v1.RankSetup");
}

TEST(ProtocolTest, ErrorsComeThrough) {
  v1::RankReady ready;
  EXPECT_TRUE(ErrorOf(ready).ok());
  SetError(absl::NotFoundError("no such folder"), &ready);
  EXPECT_EQ(ErrorOf(ready), absl::NotFoundError("no such folder"));
}

TEST(ProtocolTest, AnotherBuildPlanOrRankIsRefusedByName) {
  EXPECT_TRUE(CheckSetup(MakeSetup(), "1.2.3").ok());
  EXPECT_EQ(CheckSetup(MakeSetup(), "1.2.4").message(),
            "the front is build 1.2.3, rank 1 is build 1.2.4");
  v1::RankSetup setup = MakeSetup();
  setup.mutable_plan()->set_model("another");
  EXPECT_EQ(CheckSetup(setup, "1.2.3").message(),
            "the front's plan has hash " + MakeSetup().plan_hash() + ", as rank 1 reads it " +
                plan::PlanHash(setup.plan()));
  setup = MakeSetup();
  setup.set_rank(2);
  EXPECT_EQ(CheckSetup(setup, "1.2.3").message(), "rank 2 is not in the plan's [0, 2)");
}

TEST(ProtocolTest, TensorsComeThroughWithoutTheirGaps) {
  const float values[] = {1, 2, 3, -1, 4, 5, 6, -1};
  std::vector<uint8_t> bytes;
  WriteTensor({values, kernels::DType::kF32, 2, 3, 4}, &bytes);
  kernels::TensorView tensor;
  ASSERT_TRUE(ReadTensor(bytes, &tensor).ok());
  const auto matrix = tensor.As<float>();
  ASSERT_EQ(matrix.rows, 2);
  ASSERT_EQ(matrix.cols, 3);
  EXPECT_EQ(matrix.row(0)[2], 3);
  EXPECT_EQ(matrix.row(1)[0], 4);
}

TEST(ProtocolTest, WhatIsNoTensorIsRefused) {
  const int32_t values[] = {1, 2, 3, 4};
  std::vector<uint8_t> bytes;
  WriteTensor({values, kernels::DType::kI32, 2, 2, 2}, &bytes);
  kernels::TensorView tensor;
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(ReadTensor(std::span(bytes).first(size), &tensor).ok()) << size;
  }
  // Sizes whose product is the same after it has wrapped.
  std::vector<uint8_t> huge = bytes;
  huge[8 + 7] = 0x40;
  EXPECT_FALSE(ReadTensor(huge, &tensor).ok());
  std::vector<uint8_t> other_type = bytes;
  other_type[0] = 200;
  EXPECT_FALSE(ReadTensor(other_type, &tensor).ok());
}

}  // namespace
}  // namespace mneme::ranks
