#include "engine/runtime/rank.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/plan/plan_of_rank.h"
#include "engine/runtime/exchange.h"
#include "engine/runtime/weight_part.h"
#include "kernels/device/host_memory.h"
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace mneme::runtime {
namespace {

using kernels::Buffer;
using kernels::Pages;

// A cheap clock for the intervals inside a step; its unit is settled by the step's own seconds.
uint64_t Ticks() {
#if defined(__x86_64__)
  return __rdtsc();
#else
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

StepLimits LimitsOf(const v1::StepLimits& l) {
  return {.max_tokens = l.max_tokens(),
          .max_sequences = l.max_sequences(),
          .max_logit_rows = l.max_logit_rows(),
          .max_positions = l.max_positions(),
          .kv_blocks = l.kv_blocks(),
          .kv_block_tokens = l.kv_block_tokens()};
}

}  // namespace

Rank::Rank(v1::Plan plan, const StepLimits& limits, const RankOptions& options)
    : plan_(std::move(plan)), limits_(limits), options_(options) {
  programs_.emplace_back().plan = plan_;
  programs_.back().plan.clear_programs();
  for (int p = 0; p < plan_.programs_size(); ++p) {
    programs_.push_back({plan_.programs(p).from_tokens(), plan::PlanOfProgram(plan_, p), {}, {}});
  }
  program_ = &programs_[0];
  block_tables_.assign(static_cast<size_t>(limits.max_sequences) * limits.max_blocks_per_sequence(),
                       0);
  spans_.reserve(limits.max_sequences);
  value_row_bytes_.assign(size_t{2} * limits.max_tokens, 0.0);
  expert_bytes_.assign(size_t{2} * limits.max_tokens, 0.0);
  kv_bytes_.assign(size_t{2} * limits.max_tokens, 0.0);
}

absl::StatusOr<std::unique_ptr<Rank>> Rank::Create(const v1::Plan& plan,
                                                   const loader::PackedWeights& weights,
                                                   const RankOptions& options) {
  std::unique_ptr<Rank> rank(
      new Rank(plan::PlanOfRank(plan, options.rank), LimitsOf(plan.limits()), options));
  if (absl::Status s = rank->AllocateMemory(); !s.ok()) return s;
  if (absl::Status s = rank->BindWeights(weights); !s.ok()) return s;
  rank->BindKvCaches();
  if (absl::Status s = rank->BindActors(); !s.ok()) return s;
  return rank;
}

absl::Status Rank::AllocateMemory() {
  int64_t kv_bytes = 0;
  for (const v1::KvCache& cache : plan_.kv_caches()) kv_bytes += cache.bytes();
  // Pages come only when they are touched, so the system itself would not refuse.
  if (const int64_t available = kernels::AvailableHostMemory();
      available > 0 && kv_bytes > available) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the KV cache needs ", kv_bytes, " bytes, ", available, " are available"));
  }
  // What others read lies where the exchange wants it.
  const int64_t own_bytes = options_.exchange == nullptr ? plan_.arena_bytes() : 0;
  for (auto [buffer, bytes] : {std::pair(&own_arena_, own_bytes), std::pair(&kv_, kv_bytes)}) {
    absl::StatusOr<Buffer> allocated = Buffer::Allocate(bytes, Pages::kHuge);
    if (!allocated.ok()) return allocated.status();
    *buffer = std::move(*allocated);
  }
  for (Program& program : programs_) {
    if (absl::Status s = BindRegisters(&program); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status Rank::BindRegisters(Program* program) {
  const v1::Plan& plan = program->plan;
  const std::span<uint8_t> arena =
      options_.exchange == nullptr ? own_arena_.span() : options_.exchange->arena();
  if (static_cast<int64_t>(arena.size()) < plan.arena_bytes()) {
    return absl::InvalidArgumentError(absl::StrCat("the plan's registers need ", plan.arena_bytes(),
                                                   " bytes, the exchange has ", arena.size()));
  }
  for (const v1::Register& r : plan.registers()) {
    RegisterRef& ref = program->registers.emplace_back();
    ref.base = arena.data() + r.offset();
    ref.slot_bytes = r.slot_bytes();
    ref.cols = r.cols();
    ref.row_stride = r.cols();
    ref.logit_rows = r.rows() == v1::Register::LOGIT_ROWS;
    ref.double_buffered = r.slots() > 1;
    if (!SplitsRows(r.layout())) continue;
    ref.row_part = options_.rank;
    ref.row_parts = plan.cluster().ranks();
  }
  const int32_t logits = plan.logits_register();
  if (logits < 0 || logits >= plan.registers_size() || plan.registers(logits).slots() != 2 ||
      program->registers[logits].base != programs_[0].registers[plan_.logits_register()].base) {
    return absl::InvalidArgumentError(
        absl::StrCat("the plan's logits register ", logits,
                     " is not one of its registers with two slots, in one place for all steps"));
  }
  return absl::OkStatus();
}

absl::Status Rank::BindWeights(const loader::PackedWeights& weights) {
  std::map<std::string, const v1::Weight*> by_name;
  for (const v1::Weight& w : plan_.weights()) by_name[w.name()] = &w;
  for (const v1::Weight& w : plan_.weights()) {
    const v1::Weight& owner = w.shared_with().empty() ? w : *by_name.at(w.shared_with());
    const loader::PackedWeight& packed =
        weights.at({static_cast<loader::Role>(owner.role()), owner.layer()});
    const absl::Status fits = packed.part ? CheckPart(w, packed) : CheckWeight(w, packed);
    if (!fits.ok()) return fits;
    const bool cut = w.layout().kind() == v1::Layout::SPLIT && !packed.part;
    weights_.push_back(cut ? &parts_.emplace_back(PartOf(w, packed)) : &packed);
  }
  return absl::OkStatus();
}

// A block holds the keys of all its heads, then their values: [2, kv_heads, block_tokens,
// head_dim].
void Rank::BindKvCaches() {
  uint8_t* next = kv_.data();
  std::vector<std::span<uint8_t>> regions;
  for (const v1::KvCache& cache : plan_.kv_caches()) {
    if (cache.layer() >= static_cast<int32_t>(kv_caches_.size())) {
      kv_caches_.resize(cache.layer() + 1);
    }
    const int64_t head_stride = int64_t{limits_.kv_block_tokens} * cache.head_dim();
    kernels::KvCacheView& view = kv_caches_[cache.layer()];
    view.keys = reinterpret_cast<float*>(next);
    view.values = view.keys + cache.kv_heads() * head_stride;
    view.head_stride = head_stride;
    view.block_stride = 2 * cache.kv_heads() * head_stride;
    view.block_size = limits_.kv_block_tokens;
    view.kv_heads = cache.kv_heads();
    view.head_dim = cache.head_dim();
    regions.push_back({next, static_cast<size_t>(cache.bytes())});
    next += cache.bytes();
  }
  kv_prefault_ = std::make_unique<kernels::Prefault>(std::move(regions));
}

absl::Status Rank::BindActors() {
  const std::optional<kernels::Isa> isa = kernels::ParseIsa(plan_.cluster().isa());
  if (!isa || *isa > kernels::DetectIsa()) {
    return absl::InvalidArgumentError(absl::StrCat("the plan is for instructions '",
                                                   plan_.cluster().isa(), "', this machine has ",
                                                   kernels::IsaName(kernels::DetectIsa())));
  }
  int64_t scratch_bytes = 0;
  for (Program& program : programs_) {
    for (const v1::Actor& actor : program.plan.actors()) {
      absl::StatusOr<std::unique_ptr<Actor>> made =
          MakeActor({program.plan, actor, program.registers, weights_, kv_caches_, *isa,
                     options_.reference_kernels, options_.rank, options_.exchange});
      if (!made.ok()) return made.status();
      if (options_.empty_operators) {
        if (auto empty = MakeEmptyActor(actor.kind()); empty != nullptr) *made = std::move(empty);
      }
      scratch_bytes = std::max(scratch_bytes, (*made)->ScratchBytes());
      const bool logit_rows =
          actor.outputs_size() > 0 && program.registers[actor.outputs(0)].logit_rows;
      program.actors.push_back({.actor = std::move(*made), .logit_rows = logit_rows});
    }
  }
  absl::StatusOr<Buffer> scratch = Buffer::Allocate(scratch_bytes, Pages::kHuge);
  if (!scratch.ok()) return scratch.status();
  scratch_ = std::move(*scratch);
  return absl::OkStatus();
}

void Rank::Begin(const Step& step, int32_t slot) {
  program_ = &programs_[0];
  for (Program& program : programs_) {
    if (step.tokens() >= program.from_tokens) program_ = &program;
  }
  const int32_t table_size = limits_.max_blocks_per_sequence();
  for (const BlockChange& change : step.block_changes()) {
    block_tables_[size_t{1} * change.sequence * table_size + change.index] = change.block;
  }
  spans_.clear();
  for (const StepSpan& span : step.spans()) {
    spans_.push_back({span.first_row, span.rows, span.first_position,
                      block_tables_.data() + size_t{1} * span.sequence * table_size});
  }
  context_.tokens = step.tokens();
  context_.logit_rows = static_cast<int32_t>(step.logit_rows().size());
  context_.slot = slot;
  context_.token_ids = step.token_ids();
  context_.positions = step.positions();
  context_.logit_row_index = step.logit_rows();
  context_.spans = spans_;
  context_.token_value_row_bytes = value_row_bytes_.data() + size_t{1} * slot * limits_.max_tokens;
  context_.token_expert_bytes = expert_bytes_.data() + size_t{1} * slot * limits_.max_tokens;
  context_.token_kv_bytes = kv_bytes_.data() + size_t{1} * slot * limits_.max_tokens;
  std::fill_n(context_.token_value_row_bytes, context_.tokens, 0.0);
  std::fill_n(context_.token_expert_bytes, context_.tokens, 0.0);
  std::fill_n(context_.token_kv_bytes, context_.tokens, 0.0);
  context_.scratch = scratch_.data();
}

void Rank::Run(const Step& step, int32_t slot, StepResult* result) {
  while (options_.test_hang != nullptr && options_.test_hang->load()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const double begin_seconds = Seconds();
  const uint64_t begin = Ticks();
  Begin(step, slot);
  result->traffic = {};
  result->logit_traffic = {};
  uint64_t kernel_ticks = 0;
  Exchange* const exchange = options_.exchange;
  // All are through with the last step, and with what they read of each other in it.
  if (exchange != nullptr && !exchange->BeginStep()) return Fail(result);
  for (BoundActor& bound : program_->actors) {
    if (bound.logit_rows && context_.logit_rows == 0) continue;
    const uint64_t fire = Ticks();
    const kernels::Traffic traffic = bound.actor->Fire(context_);
    const uint64_t ticks = Ticks() - fire;
    kernel_ticks += ticks;
    bound.ticks += ticks;
    ++bound.fired;
    progress_.store(progress_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    result->traffic += traffic;
    if (bound.logit_rows) result->logit_traffic += traffic;
    if (exchange != nullptr && exchange->failed()) return Fail(result);
  }
  result->status = absl::OkStatus();
  result->logits =
      program_->registers[program_->plan.logits_register()].View<const float>(context_);
  result->token_value_row_bytes = {context_.token_value_row_bytes,
                                   static_cast<size_t>(context_.tokens)};
  result->token_expert_bytes = {context_.token_expert_bytes, static_cast<size_t>(context_.tokens)};
  result->token_kv_bytes = {context_.token_kv_bytes, static_cast<size_t>(context_.tokens)};
  const uint64_t ticks = Ticks() - begin;
  result->step_seconds = Seconds() - begin_seconds;
  result->runtime_seconds = ticks == 0
                                ? 0
                                : result->step_seconds * static_cast<double>(ticks - kernel_ticks) /
                                      static_cast<double>(ticks);
  total_ticks_ += ticks;
  total_seconds_ += result->step_seconds;
}

void Rank::Fail(StepResult* result) {
  result->status = absl::UnavailableError("the ranks' exchange was given up");
  result->logits = {};
  result->token_value_row_bytes = {};
  result->token_expert_bytes = {};
  result->token_kv_bytes = {};
}

kernels::TensorView Rank::Kept(int32_t index) const {
  const RegisterRef& ref = program_->registers[index];
  if (program_->plan.registers(index).type() == v1::I32) {
    return kernels::MakeTensorView(ref.View<const int32_t>(context_));
  }
  return kernels::MakeTensorView(ref.View<const float>(context_));
}

std::vector<ActorProfile> Rank::Profile() const {
  std::vector<ActorProfile> profile;
  const double unit = total_ticks_ == 0 ? 0 : total_seconds_ / static_cast<double>(total_ticks_);
  for (const Program& program : programs_) {
    for (int i = 0; i < program.plan.actors_size(); ++i) {
      const v1::Actor& actor = program.plan.actors(i);
      const BoundActor& bound = program.actors[i];
      profile.push_back(
          {actor.name(), actor.kind(), bound.fired, unit * static_cast<double>(bound.ticks)});
    }
  }
  return profile;
}

}  // namespace mneme::runtime
