// Actors of a Mixture-of-Experts: the router, the experts, the gate of a shared one.
#include <memory>
#include <vector>

#include "engine/runtime/actor.h"
#include "kernels/experts/experts.h"
#include "kernels/router/router.h"
#include "kernels/row_gate/row_gate.h"

namespace mneme::runtime {
namespace {

using kernels::Traffic;

class RouterActor : public Actor {
 public:
  explicit RouterActor(const ActorBinding& b)
      : renormalise_(b.actor.attributes().router().renormalise()),
        logits_(b.Input(0)),
        expert_(b.Output(0)),
        weight_(b.Output(1)),
        run_(b.reference_kernels ? kernels::RouterReference : kernels::ResolveRouter(b.isa)) {}
  Traffic Fire(const StepContext& step) override {
    return run_({.logits = logits_.View<const float>(step),
                 .renormalise = renormalise_,
                 .expert = expert_.View<int32_t>(step),
                 .weight = weight_.View<float>(step)});
  }

 private:
  const bool renormalise_;
  const RegisterRef logits_;
  const RegisterRef expert_;
  const RegisterRef weight_;
  const kernels::RouterFn run_;
};

// One of the stacked matrices.
kernels::TensorView MatrixOf(const loader::PackedWeight& w, size_t index) {
  kernels::TensorView view = w.view;
  view.data = w.stack[index];
  return view;
}

class ExpertsActor : public Actor {
 public:
  explicit ExpertsActor(const ActorBinding& b)
      : max_tokens_(b.plan.limits().max_tokens()),
        x_(b.Input(0)),
        expert_(b.Input(1)),
        weight_(b.Input(2)),
        y_(b.Output(0)),
        run_(b.reference_kernels ? kernels::ExpertsReference : kernels::ResolveExperts(b.isa)) {
    const v1::Attributes::Experts& a = b.actor.attributes().experts();
    for (size_t e = 0; e < b.Weight(0)->stack.size(); ++e) {
      weights_.push_back({.gate = MatrixOf(*b.Weight(0), e),
                          .up = MatrixOf(*b.Weight(1), e),
                          .down = MatrixOf(*b.Weight(2), e)});
    }
    args_.weights = weights_;
    args_.first = a.first();
  }
  Traffic Fire(const StepContext& step) override {
    args_.x = x_.View<const float>(step);
    args_.expert = expert_.View<const int32_t>(step);
    args_.weight = weight_.View<const float>(step);
    args_.y = y_.View<float>(step);
    args_.scratch = step.scratch;
    args_.token_bytes = step.token_expert_bytes + y_.Rows(step).begin;
    return run_(args_);
  }
  int64_t ScratchBytes() const override {
    return kernels::ExpertsScratchBytes({.tokens = max_tokens_,
                                         .top_k = expert_.cols,
                                         .dim = x_.cols,
                                         .hidden = weights_[0].gate.rows,
                                         .experts = static_cast<int64_t>(weights_.size())});
  }

 private:
  const int64_t max_tokens_;
  const RegisterRef x_;
  const RegisterRef expert_;
  const RegisterRef weight_;
  const RegisterRef y_;
  const kernels::ExpertsFn run_;
  std::vector<kernels::ExpertWeights> weights_;
  kernels::ExpertsArgs args_;
};

class RowGateActor : public Actor {
 public:
  explicit RowGateActor(const ActorBinding& b)
      : x_(b.Input(0)),
        gate_(b.Input(1)),
        y_(b.Output(0)),
        run_(b.reference_kernels ? kernels::RowGateReference : kernels::ResolveRowGate(b.isa)) {}
  Traffic Fire(const StepContext& step) override {
    return run_({.x = x_.View<const float>(step),
                 .gate = gate_.View<const float>(step),
                 .y = y_.View<float>(step)});
  }

 private:
  const RegisterRef x_;
  const RegisterRef gate_;
  const RegisterRef y_;
  const kernels::RowGateFn run_;
};

}  // namespace

std::unique_ptr<Actor> MakeMoeActor(const ActorBinding& b) {
  switch (b.actor.kind()) {
    case v1::ROUTER:
      return std::make_unique<RouterActor>(b);
    case v1::EXPERTS:
      return std::make_unique<ExpertsActor>(b);
    case v1::ROW_GATE:
      return std::make_unique<RowGateActor>(b);
    default:
      return nullptr;
  }
}

}  // namespace mneme::runtime
