#include "absl/strings/str_cat.h"
#include "engine/runtime/actor.h"

namespace mneme::runtime {

namespace {

// Whether the kernels of an operator read this type at this operand. Matrices, keys and tables come
// in two types, the shuffle is of integers, everything else is float32.
bool Reads(v1::OperatorKind kind, int operand, v1::ElementType type) {
  switch (kind) {
    case v1::EMBEDDING:
    case v1::LINEAR:
    case v1::PRODUCT_KEY_CANDIDATES:
    case v1::VALUE_PREFETCH:
    case v1::VALUE_GATHER:
    case v1::PRE_SCORE:
      return type == v1::F32 || (operand == 0 && type == v1::BF16);
    case v1::EXPERTS:
      return type == v1::F32 || type == v1::BF16;
    case v1::PRODUCT_KEY_SELECT:
      return type == (operand == 1 ? v1::I32 : v1::F32);
    default:
      return type == v1::F32;
  }
}

class EmptyActor : public Actor {
 public:
  kernels::Traffic Fire(const StepContext&) override { return {}; }
};

absl::Status CheckWeightTypes(const v1::Plan& plan, const v1::Actor& actor) {
  for (int i = 0; i < actor.weights_size(); ++i) {
    if (actor.weights(i) < 0) continue;
    const v1::Weight& w = plan.weights(actor.weights(i));
    if (Reads(actor.kind(), i, w.type())) continue;
    return absl::InvalidArgumentError(absl::StrCat("actor ", actor.name(),
                                                   ": its kernel does not read weight ", w.name(),
                                                   " as ", v1::ElementType_Name(w.type())));
  }
  return absl::OkStatus();
}

}  // namespace

std::unique_ptr<Actor> MakeEmptyActor(v1::OperatorKind kind) {
  switch (kind) {
    case v1::ALL_REDUCE:
    case v1::ALL_GATHER:
    case v1::REDUCE_SCATTER:
    case v1::PRODUCT_KEY_MERGE:
      return nullptr;
    default:
      return std::make_unique<EmptyActor>();
  }
}

absl::StatusOr<std::unique_ptr<Actor>> MakeActor(const ActorBinding& binding) {
  if (absl::Status s = CheckWeightTypes(binding.plan, binding.actor); !s.ok()) return s;
  for (const auto make : {MakeDenseActor, MakeLinearActor, MakeAttentionActor, MakeProductKeyActor,
                          MakeTableActor, MakeMoeActor, MakeRowGatherActor, MakeExchangeActor,
                          MakeCandidateActor, MakeScatterActor}) {
    if (std::unique_ptr<Actor> actor = make(binding); actor != nullptr) return actor;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "actor ", binding.actor.name(), ": the cpu device has no operator ",
      v1::OperatorKind_IsValid(binding.actor.kind()) ? v1::OperatorKind_Name(binding.actor.kind())
                                                     : absl::StrCat(binding.actor.kind())));
}

}  // namespace mneme::runtime
