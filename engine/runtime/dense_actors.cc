// Actors of the operators that every transformer has: embedding, norms, activations, sums.
#include <algorithm>
#include <memory>

#include "engine/runtime/actor.h"
#include "kernels/activation/activation.h"
#include "kernels/addition/addition.h"
#include "kernels/clamp/clamp.h"
#include "kernels/embedding/embedding.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/select_rows/select_rows.h"
#include "kernels/square_sum/square_sum.h"

namespace mneme::runtime {
namespace {

using kernels::Traffic;

class EmbeddingActor : public Actor {
 public:
  explicit EmbeddingActor(const ActorBinding& b)
      : table_(b.Weight(0)->view),
        first_row_(b.plan.weights(b.actor.weights(0)).first_row()),
        y_(b.Output(0)),
        run_(b.reference_kernels ? kernels::EmbeddingReference
                                 : kernels::ResolveEmbedding(table_.dtype, b.isa)) {}
  Traffic Fire(const StepContext& step) override {
    return run_({.ids = y_.Rows(step).Of(step.token_ids),
                 .table = table_,
                 .first_row = first_row_,
                 .y = y_.View<float>(step)});
  }

 private:
  const kernels::TensorView table_;
  const int64_t first_row_;  // zeros for the ids of other ranks' rows
  const RegisterRef y_;
  const kernels::EmbeddingFn run_;
};

// What both norms are bound to.
class NormOperands {
 public:
  explicit NormOperands(const ActorBinding& b)
      : weight_(b.Floats(0)),
        bias_(b.Floats(1)),
        width_(b.actor.attributes().norm().width()),
        eps_(b.actor.attributes().norm().eps()),
        x_(b.Input(0)),
        y_(b.Output(0)) {}
  // Args: of either kernel, which name them alike.
  template <class Args>
  Args Of(const StepContext& step) const {
    Args args;
    args.x = x_.View<const float>(step);
    args.width = width_;
    args.weight = weight_;
    args.bias = bias_;
    args.eps = eps_;
    args.y = y_.View<float>(step);
    return args;
  }

 private:
  const float* const weight_;
  const float* const bias_;
  const int64_t width_;
  const float eps_;
  const RegisterRef x_;
  const RegisterRef y_;
};

class LayerNormActor : public Actor {
 public:
  explicit LayerNormActor(const ActorBinding& b)
      : operands_(b),
        run_(b.reference_kernels ? kernels::LayerNormReference : kernels::ResolveLayerNorm(b.isa)) {
  }
  Traffic Fire(const StepContext& step) override {
    return run_(operands_.Of<kernels::LayerNormArgs>(step));
  }

 private:
  const NormOperands operands_;
  const kernels::LayerNormFn run_;
};

// One column of a register.
RegisterRef ColumnOf(RegisterRef ref, int32_t column) {
  ref.first_col += column;
  ref.cols = 1;
  return ref;
}

class RmsNormActor : public Actor {
 public:
  explicit RmsNormActor(const ActorBinding& b)
      : operands_(b),
        squares_(ColumnOf(b.Input(1), b.actor.attributes().norm().sum())),
        run_(b.reference_kernels ? kernels::RmsNormReference : kernels::ResolveRmsNorm(b.isa)) {}
  Traffic Fire(const StepContext& step) override {
    kernels::RmsNormArgs args = operands_.Of<kernels::RmsNormArgs>(step);
    args.squares = squares_.View<const float>(step);
    return run_(args);
  }

 private:
  const NormOperands operands_;
  const RegisterRef squares_;
  const kernels::RmsNormFn run_;
};

class SquareSumActor : public Actor {
 public:
  explicit SquareSumActor(const ActorBinding& b)
      : inputs_{b.Input(0), b.Input(1)},
        y_(b.Output(0)),
        run_(b.reference_kernels ? kernels::SquareSumReference : kernels::ResolveSquareSum(b.isa)) {
  }
  Traffic Fire(const StepContext& step) override {
    Traffic traffic;
    for (int32_t i = 0; i < y_.cols; ++i) {
      const kernels::Matrix<const float> x = inputs_[i].View<const float>(step);
      const kernels::Matrix<float> y = ColumnOf(y_, i).View<float>(step);
      if (!x.empty()) {
        traffic += run_({.x = x, .y = y});
        continue;
      }
      // Another rank has the same columns, and counts them.
      for (int64_t t = 0; t < y.rows; ++t) *y.row(t) = 0;
      traffic.Write(kernels::TrafficClass::kActivations, static_cast<uint64_t>(y.rows) * 4);
    }
    return traffic;
  }

 private:
  const RegisterRef inputs_[2];
  const RegisterRef y_;
  const kernels::SquareSumFn run_;
};

class ClampActor : public Actor {
 public:
  explicit ClampActor(const ActorBinding& b)
      : limit_(b.actor.attributes().clamp().limit()),
        x_(b.Input(0)),
        run_(b.reference_kernels ? kernels::ClampReference : kernels::ResolveClamp(b.isa)) {}
  Traffic Fire(const StepContext& step) override {
    return run_({.x = x_.View<float>(step), .limit = limit_});
  }

 private:
  const float limit_;
  const RegisterRef x_;
  const kernels::ClampFn run_;
};

kernels::ActivationKind KindOf(v1::Attributes::Activation::Kind kind) {
  switch (kind) {
    case v1::Attributes::Activation::GELU:
      return kernels::ActivationKind::kGelu;
    case v1::Attributes::Activation::RELU:
      return kernels::ActivationKind::kRelu;
    default:
      return kernels::ActivationKind::kSwiglu;
  }
}

class ActivationActor : public Actor {
 public:
  explicit ActivationActor(const ActorBinding& b)
      : kind_(KindOf(b.actor.attributes().activation().kind())),
        a_(b.Input(0)),
        gate_(b.Input(1)),
        y_(b.Output(0)),
        run_(b.reference_kernels ? kernels::ActivationReference
                                 : kernels::ResolveActivation(kind_, b.isa)) {}
  Traffic Fire(const StepContext& step) override {
    return run_({.kind = kind_,
                 .a = a_.View<const float>(step),
                 .g = gate_.View<const float>(step),
                 .y = y_.View<float>(step)});
  }

 private:
  const kernels::ActivationKind kind_;
  const RegisterRef a_;
  const RegisterRef gate_;
  const RegisterRef y_;
  const kernels::ActivationFn run_;
};

class AdditionActor : public Actor {
 public:
  explicit AdditionActor(const ActorBinding& b)
      : a_(b.Input(0)),
        b_(b.Input(1)),
        y_(b.Output(0)),
        run_(b.reference_kernels ? kernels::AdditionReference : kernels::ResolveAddition(b.isa)) {}
  Traffic Fire(const StepContext& step) override {
    if (a_.base == nullptr || b_.base == nullptr) return Copy(step);
    return run_({.a = a_.View<const float>(step),
                 .b = b_.View<const float>(step),
                 .y = y_.View<float>(step)});
  }

 private:
  // What is absent is zero: the addend of another rank.
  Traffic Copy(const StepContext& step) {
    const kernels::Matrix<const float> x = (a_.base != nullptr ? a_ : b_).View<const float>(step);
    const kernels::Matrix<float> y = y_.View<float>(step);
    for (int64_t r = 0; r < y.rows; ++r) {
      if (x.data == nullptr) {
        std::fill_n(y.row(r), y.cols, 0.0f);
      } else {
        std::copy_n(x.row(r), y.cols, y.row(r));
      }
    }
    const uint64_t bytes = static_cast<uint64_t>(y.rows * y.cols) * sizeof(float);
    Traffic traffic;
    if (x.data != nullptr) traffic.Read(kernels::TrafficClass::kActivations, bytes);
    traffic.Write(kernels::TrafficClass::kActivations, bytes);
    return traffic;
  }

  const RegisterRef a_;
  const RegisterRef b_;
  const RegisterRef y_;
  const kernels::AdditionFn run_;
};

class SelectRowsActor : public Actor {
 public:
  explicit SelectRowsActor(const ActorBinding& b)
      : x_(b.Input(0)),
        y_(b.Output(0)),
        run_(b.reference_kernels ? kernels::SelectRowsReference
                                 : kernels::ResolveSelectRows(b.isa)) {}
  Traffic Fire(const StepContext& step) override {
    return run_(
        {.x = x_.View<const float>(step), .rows = step.logit_row_index, .y = y_.View<float>(step)});
  }

 private:
  const RegisterRef x_;
  const RegisterRef y_;
  const kernels::SelectRowsFn run_;
};

}  // namespace

std::unique_ptr<Actor> MakeDenseActor(const ActorBinding& b) {
  switch (b.actor.kind()) {
    case v1::EMBEDDING:
      return std::make_unique<EmbeddingActor>(b);
    case v1::RMS_NORM:
      return std::make_unique<RmsNormActor>(b);
    case v1::LAYER_NORM:
      return std::make_unique<LayerNormActor>(b);
    case v1::SQUARE_SUM:
      return std::make_unique<SquareSumActor>(b);
    case v1::CLAMP:
      return std::make_unique<ClampActor>(b);
    case v1::ACTIVATION:
      return std::make_unique<ActivationActor>(b);
    case v1::ADDITION:
      return std::make_unique<AdditionActor>(b);
    case v1::SELECT_ROWS:
      return std::make_unique<SelectRowsActor>(b);
    default:
      return nullptr;
  }
}

}  // namespace mneme::runtime
