// The actor that sums each rank's columns, or rows, of a partial tensor, on that rank alone.
#include <memory>
#include <vector>

#include "engine/runtime/actor.h"
#include "engine/runtime/peers.h"
#include "kernels/rank_sum/rank_sum.h"

namespace mneme::runtime {
namespace {

using kernels::Matrix;
using kernels::Traffic;

class ReduceScatterActor : public Actor {
 public:
  explicit ReduceScatterActor(const ActorBinding& b)
      : peers_(b),
        layout_(b.plan.registers(b.actor.outputs(0)).layout()),
        x_(b.Input(0)),
        y_(b.Output(0)),
        sum_(b.reference_kernels ? kernels::RankSumReference : kernels::ResolveRankSum(b.isa)),
        addends_(peers_.ranks()) {}

  // Every element is the sum in the order of ranks that an all-reduce would give.
  Traffic Fire(const StepContext& step) override {
    const Matrix<const float> own = PartOf(peers_.rank(), step);
    for (int32_t other = 0; other < peers_.ranks(); ++other) {
      if (other == peers_.rank()) continue;
      const Matrix<const float> theirs = PartOf(other, step);
      peers_.Give(other, theirs, 0, theirs.cols);
      peers_.Take(other, own, own.row_stride, 0, own.cols);
    }
    if (!peers_.Swap()) return Traffic();
    for (int32_t other = 0; other < peers_.ranks(); ++other) {
      addends_[other] = peers_.Of(other, own.data);
    }
    return sum_({.addends = addends_, .addend_stride = x_.row_stride, .y = y_.View<float>(step)});
  }

 private:
  // Of this rank's addend, what a rank sums.
  Matrix<const float> PartOf(int32_t rank, const StepContext& step) const {
    const Matrix<const float> x = x_.View<const float>(step);
    if (SplitsRows(layout_)) {
      const RowRange rows = y_.Part(rank).Rows(step);
      return x.Rows(rows.begin, rows.count);
    }
    const v1::Layout::Part& columns = layout_.parts(rank);
    return {x.data + columns.begin(), x.rows, columns.end() - columns.begin(), x.row_stride};
  }

  Peers peers_;
  const v1::Layout layout_;  // of y
  const RegisterRef x_;
  const RegisterRef y_;
  const kernels::RankSumFn sum_;
  std::vector<const float*> addends_;
};

}  // namespace

std::unique_ptr<Actor> MakeScatterActor(const ActorBinding& b) {
  if (b.exchange == nullptr || b.actor.kind() != v1::REDUCE_SCATTER) return nullptr;
  return std::make_unique<ReduceScatterActor>(b);
}

}  // namespace mneme::runtime
