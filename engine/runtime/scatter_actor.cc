// The actor that sums each rank's columns of a partial tensor, on that rank alone.
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
        parts_(b.plan.registers(b.actor.outputs(0)).layout()),
        begin_(parts_.parts(b.rank).begin()),
        x_(b.Input(0)),
        y_(b.Output(0)),
        sum_(b.reference_kernels ? kernels::RankSumReference : kernels::ResolveRankSum(b.isa)),
        addends_(peers_.ranks()) {}

  // Every column is the sum in the order of ranks that an all-reduce would give.
  Traffic Fire(const StepContext& step) override {
    const Matrix<const float> x = x_.View<const float>(step);
    const int64_t end = parts_.parts(peers_.rank()).end();
    for (int32_t other = 0; other < peers_.ranks(); ++other) {
      if (other == peers_.rank()) continue;
      const v1::Layout::Part& theirs = parts_.parts(other);
      peers_.Give(other, x, theirs.begin(), theirs.end());
      peers_.Take(other, x, x.row_stride, begin_, end);
    }
    if (!peers_.Swap()) return Traffic();
    for (int32_t other = 0; other < peers_.ranks(); ++other) {
      addends_[other] = peers_.Of(other, x.data) + begin_;
    }
    return sum_({.addends = addends_, .addend_stride = x.row_stride, .y = y_.View<float>(step)});
  }

 private:
  Peers peers_;
  const v1::Layout parts_;
  const int64_t begin_;
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
