// Actors around the KV cache: rotation, append, attention.
#include <memory>

#include "engine/runtime/actor.h"
#include "kernels/attention/attention.h"
#include "kernels/kv_append/kv_append.h"
#include "kernels/rope/rope.h"

namespace mneme::runtime {
namespace {

using kernels::Traffic;

class RopeActor : public Actor {
 public:
  explicit RopeActor(const ActorBinding& b)
      : head_dim_(b.actor.attributes().rope().head_dim()),
        cos_(b.Weight(0)->view.As<float>()),
        sin_(b.Weight(1)->view.As<float>()),
        x_(b.Input(0)),
        run_(b.reference_kernels ? kernels::RopeReference : kernels::ResolveRope(b.isa)) {}
  Traffic Fire(const StepContext& step) override {
    return run_({.x = x_.View<float>(step),
                 .head_dim = head_dim_,
                 .positions = x_.Rows(step).Of(step.positions),
                 .cos = cos_,
                 .sin = sin_});
  }

 private:
  const int64_t head_dim_;
  const kernels::Matrix<const float> cos_;
  const kernels::Matrix<const float> sin_;
  const RegisterRef x_;
  const kernels::RopeFn run_;
};

class KvAppendActor : public Actor {
 public:
  explicit KvAppendActor(const ActorBinding& b)
      : cache_(b.kv_caches[b.actor.attributes().kv_append().layer()]),
        k_(b.Input(0)),
        v_(b.Input(1)),
        run_(b.reference_kernels ? kernels::KvAppendReference : kernels::ResolveKvAppend(b.isa)) {}
  Traffic Fire(const StepContext& step) override {
    return run_({.k = k_.View<const float>(step),
                 .v = v_.View<const float>(step),
                 .cache = cache_,
                 .spans = step.spans});
  }

 private:
  const kernels::KvCacheView cache_;
  const RegisterRef k_;
  const RegisterRef v_;
  const kernels::KvAppendFn run_;
};

class AttentionActor : public Actor {
 public:
  explicit AttentionActor(const ActorBinding& b)
      : attributes_(b.actor.attributes().attention()),
        cache_(b.kv_caches[attributes_.layer()]),
        max_positions_(b.plan.limits().max_positions()),
        q_(b.Input(0)),
        y_(b.Output(0)),
        run_(b.reference_kernels ? kernels::AttentionReference : kernels::ResolveAttention(b.isa)) {
  }
  Traffic Fire(const StepContext& step) override {
    return run_({.q = q_.View<const float>(step),
                 .cache = cache_,
                 .spans = step.spans,
                 .heads = attributes_.heads(),
                 .scale = attributes_.scale(),
                 .window = attributes_.window(),
                 .y = y_.View<float>(step),
                 .scratch = step.scratch,
                 .token_bytes = step.token_kv_bytes});
  }
  int64_t ScratchBytes() const override {
    return kernels::AttentionScratchBytes(attributes_.heads(), attributes_.kv_heads(),
                                          attributes_.head_dim(), max_positions_);
  }

 private:
  const v1::Attributes::Attention attributes_;
  const kernels::KvCacheView cache_;
  const int32_t max_positions_;
  const RegisterRef q_;
  const RegisterRef y_;
  const kernels::AttentionFn run_;
};

}  // namespace

std::unique_ptr<Actor> MakeAttentionActor(const ActorBinding& b) {
  switch (b.actor.kind()) {
    case v1::ROPE:
      return std::make_unique<RopeActor>(b);
    case v1::KV_APPEND:
      return std::make_unique<KvAppendActor>(b);
    case v1::ATTENTION:
      return std::make_unique<AttentionActor>(b);
    default:
      return nullptr;
  }
}

}  // namespace mneme::runtime
