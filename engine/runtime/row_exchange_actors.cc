// Actors that divide a tensor by rows, or put its rows together.
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

// Each rank's rows of the sum, on that rank alone. Every row is the sum in the order of ranks that
// an all-reduce would give.
class ReduceScatterRowsActor : public Actor {
 public:
  explicit ReduceScatterRowsActor(const ActorBinding& b)
      : peers_(b),
        x_(b.Input(0)),
        y_(b.Output(0)),
        sum_(b.reference_kernels ? kernels::RankSumReference : kernels::ResolveRankSum(b.isa)),
        addends_(peers_.ranks()) {}

  Traffic Fire(const StepContext& step) override {
    const Matrix<const float> own = Rows(peers_.rank(), step);
    for (int32_t other = 0; other < peers_.ranks(); ++other) {
      if (other == peers_.rank()) continue;
      peers_.Give(other, Rows(other, step), 0, x_.cols);
      peers_.Take(other, own, x_.row_stride, 0, x_.cols);
    }
    if (!peers_.Swap()) return Traffic();
    for (int32_t other = 0; other < peers_.ranks(); ++other) {
      addends_[other] = peers_.Of(other, own.data);
    }
    return sum_({.addends = addends_, .addend_stride = x_.row_stride, .y = y_.View<float>(step)});
  }

 private:
  // A rank's rows of this rank's addend.
  Matrix<const float> Rows(int32_t rank, const StepContext& step) const {
    const RowRange rows = y_.Part(rank).Rows(step);
    return x_.View<const float>(step).Rows(rows.begin, rows.count);
  }

  Peers peers_;
  const RegisterRef x_;
  const RegisterRef y_;
  const kernels::RankSumFn sum_;
  std::vector<const float*> addends_;
};

class AllGatherRowsActor : public Actor {
 public:
  explicit AllGatherRowsActor(const ActorBinding& b) : peers_(b), x_(b.Input(0)), y_(b.Output(0)) {}

  Traffic Fire(const StepContext& step) override {
    for (int32_t other = 0; other < peers_.ranks(); ++other) {
      if (other == peers_.rank()) continue;
      peers_.Give(other, x_.View<const Element>(step), 0, x_.cols);
      peers_.Take(other, x_.Part(other).View<const Element>(step), x_.row_stride, 0, x_.cols);
    }
    if (!peers_.Swap()) return Traffic();
    Traffic traffic;
    const Matrix<Element> y = y_.View<Element>(step);
    for (int32_t other = 0; other < peers_.ranks(); ++other) {
      const RegisterRef part = x_.Part(other);
      const Matrix<const Element> x = part.View<const Element>(step);
      const Element* from = peers_.Of(other, x.data);
      const int64_t begin = part.Rows(step).begin;
      for (int64_t r = 0; r < x.rows; ++r) {
        std::memcpy(y.row(begin + r), from + r * x.row_stride,
                    static_cast<size_t>(x.cols) * sizeof(Element));
      }
      const uint64_t bytes = static_cast<uint64_t>(x.rows * x.cols) * sizeof(Element);
      traffic.Read(other == peers_.rank() ? TrafficClass::kActivations : TrafficClass::kExchange,
                   bytes);
      traffic.Write(TrafficClass::kActivations, bytes);
    }
    return traffic;
  }

 private:
  using Element = uint32_t;  // float or int32: they are only moved

  Peers peers_;
  const RegisterRef x_;
  const RegisterRef y_;
};

}  // namespace

std::unique_ptr<Actor> MakeRowExchangeActor(const ActorBinding& b) {
  if (b.exchange == nullptr) return nullptr;
  const auto splits = [&](int32_t reg) { return SplitsRows(b.plan.registers(reg).layout()); };
  if (b.actor.kind() == v1::ALL_GATHER && splits(b.actor.inputs(0))) {
    return std::make_unique<AllGatherRowsActor>(b);
  }
  if (b.actor.kind() == v1::REDUCE_SCATTER && splits(b.actor.outputs(0))) {
    return std::make_unique<ReduceScatterRowsActor>(b);
  }
  return nullptr;
}

}  // namespace mneme::runtime
