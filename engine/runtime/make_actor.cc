#include "absl/strings/str_cat.h"
#include "engine/runtime/actor.h"

namespace mneme::runtime {

absl::StatusOr<std::unique_ptr<Actor>> MakeActor(const ActorBinding& binding) {
  for (const auto make : {MakeDenseActor, MakeAttentionActor, MakeMemoryActor}) {
    if (std::unique_ptr<Actor> actor = make(binding); actor != nullptr) return actor;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "actor ", binding.actor.name(), ": the cpu device has no operator ",
      v1::OperatorKind_IsValid(binding.actor.kind()) ? v1::OperatorKind_Name(binding.actor.kind())
                                                     : absl::StrCat(binding.actor.kind())));
}

}  // namespace mneme::runtime
