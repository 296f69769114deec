// The linear operator, also of weights of which a rank has some columns of each of several chunks.
#include <algorithm>
#include <memory>

#include "engine/runtime/actor.h"
#include "kernels/addition/addition.h"
#include "kernels/linear/linear.h"

namespace mneme::runtime {
namespace {

using kernels::Traffic;

class LinearActor : public Actor {
 public:
  explicit LinearActor(const ActorBinding& b)
      : w_(b.Weight(0)->view),
        bias_(b.Floats(1)),
        scale_(b.actor.attributes().linear().scale()),
        x_(b.Input(0)),
        y_(b.Output(0)),
        run_(b.reference_kernels ? kernels::LinearReference
                                 : kernels::ResolveLinear(w_.dtype, b.isa)) {}
  Traffic Fire(const StepContext& step) override {
    return run_({.x = x_.View<const float>(step),
                 .w = w_,
                 .bias = bias_,
                 .scale = scale_,
                 .y = y_.View<float>(step)});
  }

 private:
  const kernels::TensorView w_;
  const float* const bias_;
  const float scale_;
  const RegisterRef x_;
  const RegisterRef y_;
  const kernels::LinearFn run_;
};

// y = Σ over chunks of x_c W_cᵀ: the rank's columns of x follow one another, those of the weight
// lie in each chunk of the whole one. The sums are added in the order of chunks, wherever these
// lie.
class ChunkedLinearActor : public Actor {
 public:
  ChunkedLinearActor(const ActorBinding& b, int32_t chunks)
      : chunks_(chunks),
        max_rows_(std::max(b.plan.limits().max_tokens(), b.plan.limits().max_logit_rows())),
        w_(b.Weight(0)->view),
        chunk_stride_(b.Weight(0)->chunk_stride > 0 ? b.Weight(0)->chunk_stride : w_.cols / chunks),
        bias_(b.Floats(1)),
        scale_(b.actor.attributes().linear().scale()),
        x_(b.Input(0)),
        y_(b.Output(0)),
        run_(b.reference_kernels ? kernels::LinearReference
                                 : kernels::ResolveLinear(w_.dtype, b.isa)),
        add_(b.reference_kernels ? kernels::AdditionReference : kernels::ResolveAddition(b.isa)) {}

  Traffic Fire(const StepContext& step) override {
    const kernels::Matrix<const float> x = x_.View<const float>(step);
    const kernels::Matrix<float> y = y_.View<float>(step);
    const kernels::Matrix<float> addend = {reinterpret_cast<float*>(step.scratch), y.rows, y.cols,
                                           y.cols};
    const int64_t cols = w_.cols / chunks_;
    Traffic traffic;
    for (int32_t c = 0; c < chunks_; ++c) {
      kernels::TensorView w = w_;
      w.data = static_cast<const uint8_t*>(w_.data) + c * chunk_stride_ * DTypeBytes(w_.dtype);
      w.cols = cols;
      traffic += run_({.x = {x.data + c * cols, x.rows, cols, x.row_stride},
                       .w = w,
                       .bias = c == 0 ? bias_ : nullptr,
                       .scale = scale_,
                       .y = c == 0 ? y : addend});
      if (c > 0) traffic += add_({.a = y, .b = addend, .y = y});
    }
    return traffic;
  }
  int64_t ScratchBytes() const override {
    return max_rows_ * y_.cols * static_cast<int64_t>(sizeof(float));
  }

 private:
  const int32_t chunks_;
  const int64_t max_rows_;
  const kernels::TensorView w_;
  const int64_t chunk_stride_;  // columns
  const float* const bias_;
  const float scale_;
  const RegisterRef x_;
  const RegisterRef y_;
  const kernels::LinearFn run_;
  const kernels::AdditionFn add_;
};

}  // namespace

std::unique_ptr<Actor> MakeLinearActor(const ActorBinding& b) {
  if (b.actor.kind() != v1::LINEAR) return nullptr;
  const v1::Layout& layout = b.plan.weights(b.actor.weights(0)).layout();
  if (layout.axis() == 1 && layout.chunks() > 1) {
    return std::make_unique<ChunkedLinearActor>(b, layout.chunks());
  }
  return std::make_unique<LinearActor>(b);
}

}  // namespace mneme::runtime
