// Actors of the memory layers' product keys.
#include <memory>

#include "engine/runtime/actor.h"
#include "kernels/product_key_candidates/product_key_candidates.h"
#include "kernels/product_key_select/product_key_select.h"

namespace mneme::runtime {
namespace {

using kernels::Traffic;

class CandidatesActor : public Actor {
 public:
  explicit CandidatesActor(const ActorBinding& b)
      : max_tokens_(b.plan.limits().max_tokens()),
        query_(b.Input(0)),
        index_(b.Output(0)),
        score_(b.Output(1)),
        run_(b.reference_kernels
                 ? kernels::ProductKeyCandidatesReference
                 : kernels::ResolveProductKeyCandidates(b.Weight(0)->view.dtype, b.isa)) {
    const v1::Attributes::Candidates& a = b.actor.attributes().candidates();
    args_.keys = b.Weight(0)->view;
    args_.heads = a.heads();
    args_.heads_per_group = a.heads_per_group();
    args_.key_count = a.key_count();
    args_.key_stride = static_cast<int32_t>(b.Weight(0)->chunk_stride);
    args_.first_key = a.first_key();
    args_.key_dim = a.key_dim();
    args_.rank = a.rank();
    args_.top_k = a.top_k();
    args_.inverse_norm = b.Floats(1);
    args_.mean = b.Floats(2);
    args_.norm_weight = b.Floats(3);
    args_.norm_bias = b.Floats(4);
    args_.row_direction = b.Floats(5);
    args_.column_direction = b.Floats(6);
  }
  Traffic Fire(const StepContext& step) override {
    args_.query = query_.View<const float>(step);
    args_.index = index_.View<int32_t>(step);
    args_.score = score_.View<float>(step);
    args_.scratch = step.scratch;
    return run_(args_);
  }
  int64_t ScratchBytes() const override {
    return kernels::ProductKeyCandidatesScratchBytes(
        max_tokens_, {args_.heads, args_.key_count, args_.key_dim, args_.rank, args_.top_k});
  }

 private:
  const int64_t max_tokens_;
  const RegisterRef query_;
  const RegisterRef index_;
  const RegisterRef score_;
  const kernels::ProductKeyCandidatesFn run_;
  kernels::ProductKeyCandidatesArgs args_;
};

class SelectActor : public Actor {
 public:
  explicit SelectActor(const ActorBinding& b)
      : index_(b.Input(0)),
        candidate_score_(b.Input(1)),
        grid_(b.Output(0)),
        score_(b.Output(1)),
        slot_(b.Output(2)),
        group_(b.Output(3)),
        weight_(b.Output(4)),
        run_(b.reference_kernels ? kernels::ProductKeySelectReference
                                 : kernels::ResolveProductKeySelect(b.isa)) {
    const v1::Attributes::Select& a = b.actor.attributes().select();
    args_.mode = a.mode() == v1::Attributes::Select::SUM_SOFTMAX ? kernels::ProductKeyMode::kSum
                                                                 : kernels::ProductKeyMode::kTucker;
    args_.heads = a.heads();
    args_.top_k = a.top_k();
    args_.rank = a.rank();
    args_.cores = a.cores();
    args_.key_count = a.key_count();
    args_.core = b.Floats(0);
    if (b.Weight(1) != nullptr) args_.shuffle = b.Weight(1)->view.As<int32_t>().data;
    args_.window = a.window();
    args_.offset = a.offset();
    args_.slots = a.slots();
  }
  Traffic Fire(const StepContext& step) override {
    args_.index = index_.View<const int32_t>(step);
    args_.score = candidate_score_.View<const float>(step);
    args_.grid = grid_.View<int32_t>(step);
    args_.raw_score = score_.View<float>(step);
    args_.weight = weight_.View<float>(step);
    args_.slot = slot_.View<int32_t>(step);
    args_.group = group_.View<int32_t>(step);
    args_.scratch = step.scratch;
    return run_(args_);
  }
  int64_t ScratchBytes() const override {
    return kernels::ProductKeySelectScratchBytes(args_.top_k, args_.rank, args_.cores);
  }

 private:
  const RegisterRef index_;
  const RegisterRef candidate_score_;
  const RegisterRef grid_;
  const RegisterRef score_;
  const RegisterRef slot_;
  const RegisterRef group_;
  const RegisterRef weight_;
  const kernels::ProductKeySelectFn run_;
  kernels::ProductKeySelectArgs args_;
};

}  // namespace

std::unique_ptr<Actor> MakeProductKeyActor(const ActorBinding& b) {
  switch (b.actor.kind()) {
    case v1::PRODUCT_KEY_CANDIDATES:
      return std::make_unique<CandidatesActor>(b);
    case v1::PRODUCT_KEY_SELECT:
      return std::make_unique<SelectActor>(b);
    default:
      return nullptr;
  }
}

}  // namespace mneme::runtime
