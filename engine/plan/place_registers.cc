#include "engine/plan/place_registers.h"

#include <algorithm>
#include <vector>

#include "engine/graph/element_bytes.h"
#include "engine/plan/arena.h"

namespace mneme::plan {
namespace {

bool ReadsOthers(v1::OperatorKind kind) {
  return kind == v1::ALL_REDUCE || kind == v1::REDUCE_SCATTER || kind == v1::ALL_GATHER ||
         kind == v1::PRODUCT_KEY_MERGE;
}

int64_t SlotBytes(const v1::Register& reg, const v1::StepLimits& limits) {
  const int64_t rows =
      reg.rows() == v1::Register::TOKENS ? limits.max_tokens() : limits.max_logit_rows();
  int64_t cols = reg.layout().parts().empty() ? reg.cols() : 0;
  for (const v1::Layout::Part& part : reg.layout().parts()) {
    const int64_t chunks = std::max(1, reg.layout().chunks());
    cols = std::max(cols, (part.end() - part.begin()) * chunks);
  }
  return (rows * cols * ElementBytes(reg.type()) + kArenaAlignment - 1) / kArenaAlignment *
         kArenaAlignment;
}

// From the first actor that uses a register to the last. What other ranks read in an exchange is
// theirs until all have come to the next exchange, for only then is everyone through with this one;
// steps begin with a meeting of all ranks.
std::vector<Lifetime> Lifetimes(const v1::Plan& plan) {
  const int32_t end = plan.actors_size();
  std::vector<Lifetime> lifetimes(plan.registers_size(), Lifetime{end, 0, 0});
  std::vector<int32_t> exchanges;
  for (int32_t i = 0; i < end; ++i) {
    const v1::Actor& actor = plan.actors(i);
    for (const auto* operands : {&actor.inputs(), &actor.outputs()}) {
      for (int32_t index : *operands) {
        if (index < 0) continue;
        lifetimes[index].first = std::min(lifetimes[index].first, i);
        lifetimes[index].last = i;
      }
    }
    if (ReadsOthers(actor.kind())) exchanges.push_back(i);
  }
  for (size_t e = 0; e < exchanges.size(); ++e) {
    const int32_t next = e + 1 < exchanges.size() ? exchanges[e + 1] : end;
    for (int32_t index : plan.actors(exchanges[e]).inputs()) {
      lifetimes[index].last = std::max(lifetimes[index].last, next);
    }
  }
  return lifetimes;
}

}  // namespace

void PlaceRegisters(const std::set<int32_t>& traced, v1::Plan* plan) {
  std::vector<Lifetime> lifetimes = Lifetimes(*plan);
  for (int32_t i = 0; i < plan->registers_size(); ++i) {
    v1::Register* reg = plan->mutable_registers(i);
    // The logits cross the step edge: the schedule samples from one slot while the next step writes
    // the other.
    const bool logits = i == plan->logits_register();
    reg->set_slots(logits ? 2 : 1);
    reg->set_slot_bytes(SlotBytes(*reg, plan->limits()));
    reg->set_kept(logits || traced.count(i) > 0);
    lifetimes[i].bytes = logits ? 0 : reg->slot_bytes();
    if (reg->kept()) lifetimes[i].last = plan->actors_size();
  }
  // The other slot is alive all through the next step, whichever program that has: both lie in
  // front of everything.
  const v1::Register& logits = plan->registers(plan->logits_register());
  const int64_t begin = logits.slots() * logits.slot_bytes();
  const Placement placement = PlaceInArena(lifetimes);
  for (int32_t i = 0; i < plan->registers_size(); ++i) {
    plan->mutable_registers(i)->set_offset(
        i == plan->logits_register() ? 0 : begin + placement.offsets[i]);
  }
  plan->set_arena_bytes(begin + placement.bytes);
}

}  // namespace mneme::plan
