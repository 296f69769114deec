// The actor that makes one list of the product-key candidates that ranks with some of the keys
// found.
#include <memory>
#include <vector>

#include "engine/runtime/actor.h"
#include "engine/runtime/peers.h"
#include "kernels/product_key_merge/product_key_merge.h"

namespace mneme::runtime {
namespace {

using kernels::Traffic;

class MergeActor : public Actor {
 public:
  explicit MergeActor(const ActorBinding& b)
      : peers_(b, /*blocks=*/2),
        index_(b.Input(0)),
        score_(b.Input(1)),
        merged_index_(b.Output(0)),
        merged_score_(b.Output(1)),
        run_(b.reference_kernels ? kernels::ProductKeyMergeReference : kernels::ProductKeyMerge) {
    const v1::Attributes::Merge& a = b.actor.attributes().merge();
    args_.own_part = b.rank;
    args_.heads = a.heads();
    args_.rank = a.rank();
    args_.top_k = a.top_k();
    args_.row_direction = b.Floats(0);
    args_.column_direction = b.Floats(1);
    for (const v1::Layout::Part& part : b.plan.registers(b.actor.inputs(0)).layout().parts()) {
      parts_.push_back(
          {.top_k = static_cast<int32_t>((part.end() - part.begin()) / (int64_t{a.heads()} * 2))});
    }
  }

  Traffic Fire(const StepContext& step) override {
    const kernels::Matrix<const int32_t> index = index_.View<const int32_t>(step);
    const kernels::Matrix<const float> score = score_.View<const float>(step);
    for (int32_t other = 0; other < peers_.ranks(); ++other) {
      if (other == peers_.rank()) continue;
      const int64_t theirs = int64_t{parts_[other].top_k} * args_.heads * 2;
      peers_.Give(other, index, 0, index.cols, 0);
      peers_.Give(other, score, 0, score.cols, 1);
      peers_.Take(other, index, theirs, 0, theirs, 0);
      peers_.Take(other, score, theirs * args_.rank, 0, theirs * args_.rank, 1);
    }
    if (!peers_.Swap()) return Traffic();
    for (int32_t other = 0; other < peers_.ranks(); ++other) {
      parts_[other].index = peers_.Of(other, index.data);
      parts_[other].score = peers_.Of(other, score.data);
    }
    args_.parts = parts_;
    args_.index = merged_index_.View<int32_t>(step);
    args_.score = merged_score_.View<float>(step);
    return run_(args_);
  }

 private:
  Peers peers_;
  const RegisterRef index_;
  const RegisterRef score_;
  const RegisterRef merged_index_;
  const RegisterRef merged_score_;
  const kernels::ProductKeyMergeFn run_;
  std::vector<kernels::ProductKeyMergePart> parts_;  // by rank
  kernels::ProductKeyMergeArgs args_;
};

}  // namespace

std::unique_ptr<Actor> MakeCandidateActor(const ActorBinding& b) {
  if (b.exchange == nullptr || b.actor.kind() != v1::PRODUCT_KEY_MERGE) return nullptr;
  return std::make_unique<MergeActor>(b);
}

}  // namespace mneme::runtime
