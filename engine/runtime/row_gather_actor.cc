// The actor that puts the rows of a tensor together.
#include <cstring>
#include <memory>

#include "engine/runtime/actor.h"
#include "engine/runtime/peers.h"

namespace mneme::runtime {
namespace {

using kernels::Matrix;
using kernels::Traffic;
using kernels::TrafficClass;

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

std::unique_ptr<Actor> MakeRowGatherActor(const ActorBinding& b) {
  if (b.exchange == nullptr || b.actor.kind() != v1::ALL_GATHER) return nullptr;
  if (!SplitsRows(b.plan.registers(b.actor.inputs(0)).layout())) return nullptr;
  return std::make_unique<AllGatherRowsActor>(b);
}

}  // namespace mneme::runtime
