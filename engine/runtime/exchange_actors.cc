// Actors that change a tensor's layout: they read the other ranks' registers where these lie.
#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "engine/runtime/actor.h"
#include "engine/runtime/peers.h"
#include "kernels/rank_sum/rank_sum.h"

namespace mneme::runtime {
namespace {

using kernels::Matrix;
using kernels::Traffic;
using kernels::TrafficClass;

// From here on each rank sums some columns for all: a rank then reads twice the tensor, however
// many ranks there are, instead of once per rank.
constexpr int64_t kShareBytes = int64_t{32} << 10;

constexpr int64_t kFloatBytes = sizeof(float);

void CopyColumns(const float* from, int64_t from_stride, int64_t rows, int64_t cols, float* to,
                 int64_t to_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    std::memcpy(to + r * to_stride, from + r * from_stride,
                static_cast<size_t>(cols) * sizeof(float));
  }
}

class AllReduceActor : public Actor {
 public:
  explicit AllReduceActor(const ActorBinding& b)
      : peers_(b),
        x_(b.Input(0)),
        y_(b.Output(0)),
        sum_(b.reference_kernels ? kernels::RankSumReference : kernels::ResolveRankSum(b.isa)),
        addends_(peers_.ranks()) {}

  Traffic Fire(const StepContext& step) override {
    const Matrix<const float> x = x_.View<const float>(step);
    const Matrix<float> y = y_.View<float>(step);
    if (y.rows * y.cols * kFloatBytes < kShareBytes) return SumAll(x, y);
    Traffic traffic = SumShare(x, y);
    // Each has summed some columns of y.
    for (int32_t other = 0; other < peers_.ranks(); ++other) {
      if (other == peers_.rank()) continue;
      peers_.Give(other, y, Begin(peers_.rank(), y.cols), Begin(peers_.rank() + 1, y.cols));
      peers_.Take(other, y, y.row_stride, Begin(other, y.cols), Begin(other + 1, y.cols));
    }
    if (!peers_.Swap()) return traffic;
    for (int32_t other = 0; other < peers_.ranks(); ++other) {
      if (other == peers_.rank()) continue;
      const int64_t begin = Begin(other, y.cols);
      const int64_t cols = Begin(other + 1, y.cols) - begin;
      CopyColumns(peers_.Of(other, y.data) + begin, y.row_stride, y.rows, cols, y.data + begin,
                  y.row_stride);
      const uint64_t bytes = static_cast<uint64_t>(y.rows * cols * kFloatBytes);
      traffic.Read(TrafficClass::kExchange, bytes);
      traffic.Write(TrafficClass::kActivations, bytes);
    }
    // From now on y may be changed, which the others have read.
    peers_.Settle();
    return traffic;
  }

 private:
  // First column of a rank's share: whole cache lines.
  int64_t Begin(int32_t rank, int64_t cols) const {
    return std::min(cols, (cols * rank / peers_.ranks() + 15) / 16 * 16);
  }

  Traffic SumAll(const Matrix<const float>& x, const Matrix<float>& y) {
    for (int32_t other = 0; other < peers_.ranks(); ++other) {
      if (other == peers_.rank()) continue;
      peers_.Give(other, x, 0, x.cols);
      peers_.Take(other, x, x.row_stride, 0, x.cols);
    }
    return peers_.Swap() ? Sum(x, y, 0, y.cols) : Traffic();
  }

  Traffic SumShare(const Matrix<const float>& x, const Matrix<float>& y) {
    const int64_t begin = Begin(peers_.rank(), y.cols);
    const int64_t end = Begin(peers_.rank() + 1, y.cols);
    for (int32_t other = 0; other < peers_.ranks(); ++other) {
      if (other == peers_.rank()) continue;
      peers_.Give(other, x, Begin(other, x.cols), Begin(other + 1, x.cols));
      peers_.Take(other, x, x.row_stride, begin, end);
    }
    return peers_.Swap() ? Sum(x, y, begin, end - begin) : Traffic();
  }

  Traffic Sum(const Matrix<const float>& x, const Matrix<float>& y, int64_t begin, int64_t cols) {
    for (int32_t other = 0; other < peers_.ranks(); ++other) {
      addends_[other] = peers_.Of(other, x.data) + begin;
    }
    return sum_({.addends = addends_,
                 .addend_stride = x.row_stride,
                 .y = {y.data + begin, y.rows, cols, y.row_stride}});
  }

  Peers peers_;
  const RegisterRef x_;
  const RegisterRef y_;
  const kernels::RankSumFn sum_;
  std::vector<const float*> addends_;
};

class AllGatherActor : public Actor {
 public:
  explicit AllGatherActor(const ActorBinding& b)
      : peers_(b),
        front_only_(b.actor.attributes().gathering().front_only()),
        layout_(b.plan.registers(b.actor.inputs(0)).layout()),
        x_(b.Input(0)),
        y_(b.Output(0)) {}

  Traffic Fire(const StepContext& step) override {
    const Matrix<const float> x = x_.View<const float>(step);
    const Matrix<float> y = y_.View<float>(step);
    Traffic traffic;
    const bool takes = !front_only_ || peers_.rank() == 0;
    for (int32_t other = 0; other < peers_.ranks(); ++other) {
      if (other == peers_.rank()) continue;
      if (!front_only_ || other == 0) peers_.Give(other, x, 0, x.cols);
      if (takes) peers_.Take(other, x, Columns(other), 0, Columns(other));
    }
    if (!peers_.Swap() || !takes) return traffic;
    for (int32_t other = 0; other < peers_.ranks(); ++other) {
      const int64_t cols = Columns(other);
      CopyColumns(peers_.Of(other, x.data), cols, y.rows, cols,
                  y.data + layout_.parts(other).begin(), y.row_stride);
      const uint64_t bytes = static_cast<uint64_t>(y.rows * cols * kFloatBytes);
      traffic.Read(other == peers_.rank() ? TrafficClass::kActivations : TrafficClass::kExchange,
                   bytes);
      traffic.Write(TrafficClass::kActivations, bytes);
    }
    return traffic;
  }

 private:
  int64_t Columns(int32_t rank) const {
    return layout_.parts(rank).end() - layout_.parts(rank).begin();
  }

  Peers peers_;
  const bool front_only_;
  const v1::Layout layout_;
  const RegisterRef x_;
  const RegisterRef y_;
};

}  // namespace

std::unique_ptr<Actor> MakeExchangeActor(const ActorBinding& b) {
  if (b.exchange == nullptr) return nullptr;
  switch (b.actor.kind()) {
    case v1::ALL_REDUCE:
      return std::make_unique<AllReduceActor>(b);
    case v1::ALL_GATHER:
      return std::make_unique<AllGatherActor>(b);
    default:
      return nullptr;
  }
}

}  // namespace mneme::runtime
