// Actors that change a tensor's layout: they read the other ranks' registers where these lie.
#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "engine/runtime/actor.h"
#include "engine/runtime/exchange.h"
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
    peers_.exchange().Meet(peers_.rank());
    if (y.rows * y.cols * kFloatBytes < kShareBytes) return Sum(x, y, 0, y.cols);
    Traffic traffic = SumOwnColumns(x, y);
    peers_.exchange().Meet(peers_.rank());
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
    peers_.exchange().Meet(peers_.rank());
    return traffic;
  }

 private:
  // First column of a rank's share: whole cache lines.
  int64_t Begin(int32_t rank, int64_t cols) const {
    return std::min(cols, (cols * rank / peers_.ranks() + 15) / 16 * 16);
  }

  Traffic SumOwnColumns(const Matrix<const float>& x, const Matrix<float>& y) {
    const int64_t begin = Begin(peers_.rank(), y.cols);
    return Sum(x, y, begin, Begin(peers_.rank() + 1, y.cols) - begin);
  }

  Traffic Sum(const Matrix<const float>& x, const Matrix<float>& y, int64_t begin, int64_t cols) {
    for (int32_t other = 0; other < peers_.ranks(); ++other) {
      addends_[other] = peers_.Of(other, x.data) + begin;
    }
    return sum_({.addends = addends_,
                 .addend_stride = x.row_stride,
                 .y = {y.data + begin, y.rows, cols, y.row_stride}});
  }

  const Peers peers_;
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
    peers_.exchange().Arrive(peers_.rank());
    if (front_only_ && peers_.rank() > 0) return traffic;
    peers_.exchange().AwaitAll(peers_.rank());
    for (int32_t other = 0; other < peers_.ranks(); ++other) {
      const v1::Layout::Part& part = layout_.parts(other);
      const int64_t cols = part.end() - part.begin();
      CopyColumns(peers_.Of(other, x.data), cols, y.rows, cols, y.data + part.begin(),
                  y.row_stride);
      const uint64_t bytes = static_cast<uint64_t>(y.rows * cols * kFloatBytes);
      traffic.Read(other == peers_.rank() ? TrafficClass::kActivations : TrafficClass::kExchange,
                   bytes);
      traffic.Write(TrafficClass::kActivations, bytes);
    }
    return traffic;
  }

 private:
  const Peers peers_;
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
