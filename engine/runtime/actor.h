// An actor: one operator of the plan, bound to its registers, weights and kernel on one rank. Bound
// once; after that firing it is one virtual call and one kernel call.
#ifndef MNEME_ENGINE_RUNTIME_ACTOR_H_
#define MNEME_ENGINE_RUNTIME_ACTOR_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/runtime/row_split.h"
#include "kernels/attention/kv_cache.h"
#include "kernels/device/isa.h"
#include "kernels/tensor/tensor.h"
#include "kernels/traffic/traffic.h"
#include "loader/pack/packed_weights.h"
#include "proto/mneme/v1/plan.pb.h"

namespace mneme::runtime {

// What the actors of one rank need to know of the step that runs. Views are valid during the step.
struct StepContext {
  int32_t tokens = 0;
  int32_t logit_rows = 0;
  int32_t slot = 0;  // of registers with more than one
  std::span<const int32_t> token_ids;
  std::span<const int32_t> positions;
  std::span<const int32_t> logit_row_index;
  std::span<const kernels::AttentionSpan> spans;
  double* token_value_row_bytes = nullptr;  // [tokens], added to
  double* token_expert_bytes = nullptr;
  double* token_kv_bytes = nullptr;
  uint8_t* scratch = nullptr;
};

class Exchange;

// A register on this rank, or some rows or columns of it.
struct RegisterRef {
  uint8_t* base = nullptr;  // null: an optional operand that is absent
  int64_t slot_bytes = 0;
  int64_t cols = 0;
  int64_t row_stride = 0;  // elements
  int64_t first_col = 0;
  bool logit_rows = false;
  bool double_buffered = false;
  // Of a register, or a view of one, whose rows are divided: which of so many parts is meant.
  int32_t row_part = 0;
  int32_t row_parts = 1;

  RowRange Rows(const StepContext& step) const {
    return RowRange::Part(logit_rows ? step.logit_rows : step.tokens, row_part, row_parts);
  }
  // This step's rows of the part; an empty view when absent. REQUIRES: the register's type is T's.
  template <class T>
  kernels::Matrix<T> View(const StepContext& step) const {
    if (base == nullptr) return {};
    uint8_t* data = base + (double_buffered ? step.slot * slot_bytes : 0);
    const RowRange rows = Rows(step);
    return {reinterpret_cast<T*>(data) + rows.begin * row_stride + first_col, rows.count, cols,
            row_stride};
  }
  // Another rank's part of the same register.
  RegisterRef Part(int32_t part) const {
    RegisterRef other = *this;
    other.row_part = part;
    return other;
  }
};

// One layer's cache on this rank; index = the plan's layer.
using KvCaches = std::vector<kernels::KvCacheView>;

class Actor {
 public:
  virtual ~Actor() = default;
  // Runs the operator on the step's rows. Allocates nothing.
  virtual kernels::Traffic Fire(const StepContext& step) = 0;
  // Scratch that Fire needs, 64-byte aligned; actors of a lane share it.
  virtual int64_t ScratchBytes() const { return 0; }
};

// Everything an actor is bound to. References outlive the actor.
struct ActorBinding {
  const v1::Plan& plan;  // one rank's
  const v1::Actor& actor;
  const std::vector<RegisterRef>& registers;                // by the plan's index
  const std::vector<const loader::PackedWeight*>& weights;  // by the plan's index
  const KvCaches& kv_caches;
  kernels::Isa isa;
  bool reference_kernels;  // the plain-loop definitions instead of the fast implementations
  int32_t rank;
  Exchange* exchange;  // null where the rank is alone

  RegisterRef Input(int i) const {
    RegisterRef ref = Register(actor.inputs(i));
    if (ref.base != nullptr && !actor.input_columns().empty()) {
      ref.first_col = actor.input_columns(i).begin();
      ref.cols = actor.input_columns(i).end() - ref.first_col;
    }
    if (i < actor.input_layouts_size() && SplitsRows(actor.input_layouts(i))) DivideRows(&ref);
    return ref;
  }
  RegisterRef Output(int i) const { return Register(actor.outputs(i)); }
  RegisterRef Register(int32_t index) const { return index < 0 ? RegisterRef{} : registers[index]; }
  const loader::PackedWeight* Weight(int i) const {
    return actor.weights(i) < 0 ? nullptr : weights[actor.weights(i)];
  }
  // The data of an f32 weight, or null when it is absent.
  const float* Floats(int i) const {
    const loader::PackedWeight* w = Weight(i);
    return w == nullptr ? nullptr : w->view.As<float>().data;
  }
  void DivideRows(RegisterRef* ref) const {
    ref->row_part = rank;
    ref->row_parts = plan.cluster().ranks();
  }
};

// The actor of a plan's entry. INVALID_ARGUMENT for an operator that the cpu device does not have,
// or a weight type that its kernel does not read.
absl::StatusOr<std::unique_ptr<Actor>> MakeActor(const ActorBinding& binding);

// In place of an operator's actor one that does nothing, to measure what there is beside operators.
// Null for operators that exchange: whoever waits for this rank would wait for ever.
std::unique_ptr<Actor> MakeEmptyActor(v1::OperatorKind kind);

// The families that MakeActor asks; null for operators of another family.
std::unique_ptr<Actor> MakeDenseActor(const ActorBinding& binding);
std::unique_ptr<Actor> MakeLinearActor(const ActorBinding& binding);
std::unique_ptr<Actor> MakeAttentionActor(const ActorBinding& binding);
std::unique_ptr<Actor> MakeProductKeyActor(const ActorBinding& binding);
std::unique_ptr<Actor> MakeTableActor(const ActorBinding& binding);
std::unique_ptr<Actor> MakeMoeActor(const ActorBinding& binding);
std::unique_ptr<Actor> MakeExchangeActor(const ActorBinding& binding);
std::unique_ptr<Actor> MakeCandidateActor(const ActorBinding& binding);
std::unique_ptr<Actor> MakeScatterActor(const ActorBinding& binding);
std::unique_ptr<Actor> MakeRowGatherActor(const ActorBinding& binding);

}  // namespace mneme::runtime

#endif  // MNEME_ENGINE_RUNTIME_ACTOR_H_
