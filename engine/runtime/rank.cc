#include "engine/runtime/rank.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/plan/plan_of_rank.h"
#include "engine/runtime/exchange.h"
#include "kernels/device/host_memory.h"
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace mneme::runtime {
namespace {

using kernels::Buffer;
using kernels::DType;
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

DType DTypeOfElement(v1::ElementType type) {
  switch (type) {
    case v1::BF16:
      return DType::kBf16;
    case v1::I32:
      return DType::kI32;
    default:
      return DType::kF32;
  }
}

StepLimits LimitsOf(const v1::StepLimits& l) {
  return {.max_tokens = l.max_tokens(),
          .max_sequences = l.max_sequences(),
          .max_logit_rows = l.max_logit_rows(),
          .max_positions = l.max_positions(),
          .kv_blocks = l.kv_blocks(),
          .kv_block_tokens = l.kv_block_tokens()};
}

// Whether the rank's part lies inside the packed matrices: some of them, or rows or columns of
// each.
bool StackFits(const v1::Weight& planned, const loader::PackedWeight& packed) {
  const int axis = planned.layout().kind() == v1::Layout::SPLIT ? planned.layout().axis() : -1;
  const int64_t count = planned.stack();
  const int64_t rows = planned.shape(0) / count;
  const int64_t first_matrix = axis == 0 ? planned.first_row() / packed.view.rows : 0;
  const int64_t first_row = axis == 1 ? planned.first_row() : 0;
  const auto fits_along = [axis](int along, int64_t first, int64_t size, int64_t whole) {
    return axis == along ? first >= 0 && first + size <= whole : size == whole;
  };
  return fits_along(0, first_matrix, count, std::ssize(packed.stack)) &&
         fits_along(1, first_row, rows, packed.view.rows) &&
         fits_along(2, planned.first_col(), planned.shape(1), packed.view.cols);
}

// "[8, 96, 64]" of stacked matrices, "[768, 64]" of one.
std::string ShapeText(int64_t stack, int64_t rows, int64_t cols) {
  if (stack == 0) return absl::StrCat("[", rows, ", ", cols, "]");
  return absl::StrCat("[", stack, ", ", rows / stack, ", ", cols, "]");
}

// The packed weight must be what the plan was made for: the rank's part lies inside it.
absl::Status CheckWeight(const v1::Weight& planned, const loader::PackedWeight& packed) {
  const DType dtype = planned.value_table() ? packed.table.dtype : packed.view.dtype;
  const int64_t stack = std::ssize(packed.stack);
  int64_t rows = packed.view.rows * std::max<int64_t>(1, stack);
  int64_t cols = packed.view.cols;
  if (planned.value_table()) {
    rows = packed.table.rows;
    cols = int64_t{packed.table.pre_width} + packed.table.width;
  } else if (planned.shape(0) == 1 && cols == 1) {
    std::swap(rows, cols);  // vectors are stored as one column
  }
  const bool split = planned.layout().kind() == v1::Layout::SPLIT;
  const auto fits_along = [&](int axis, int64_t first, int64_t whole) {
    return split && planned.layout().axis() == axis
               ? first >= 0 && first + planned.shape(axis) <= whole
               : planned.shape(axis) == whole;
  };
  const bool fits = planned.stack() > 0 ? stack > 0 && StackFits(planned, packed)
                                        : stack == 0 && fits_along(0, planned.first_row(), rows) &&
                                              fits_along(1, planned.first_col(), cols);
  const bool table_fits = !planned.value_table() || packed.bytes == planned.bytes();
  if (dtype == DTypeOfElement(planned.type()) && fits && table_fits) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("weight ", planned.name(), ": the plan has ",
                   ShapeText(planned.stack(), planned.shape(0), planned.shape(1)), " ",
                   kernels::DTypeName(DTypeOfElement(planned.type())), " of ", planned.bytes(),
                   " bytes, packed is ", ShapeText(stack, rows, cols), " ",
                   kernels::DTypeName(dtype), " of ", packed.bytes, " bytes"));
}

// A rank's part of a weight, in the whole one's memory.
loader::PackedWeight PartOf(const v1::Weight& planned, const loader::PackedWeight& whole) {
  loader::PackedWeight part = whole;
  // The columns of a vector are the rows that it is stored in.
  const bool column = planned.shape(0) == 1 && whole.view.rows != 1;
  const int64_t row_stride = column ? 1 : whole.view.row_stride;
  const int64_t first = planned.first_row() * row_stride + planned.first_col();
  part.view.data =
      static_cast<const uint8_t*>(whole.view.data) + first * DTypeBytes(whole.view.dtype);
  part.view.rows = column ? planned.shape(1) : planned.shape(0);
  part.view.cols = column ? 1 : planned.shape(1);
  part.bytes = planned.bytes();
  return part;
}

// A rank's part of stacked matrices: of each of them, or some.
loader::PackedWeight PartOfStack(const v1::Weight& planned, const loader::PackedWeight& whole) {
  loader::PackedWeight part = whole;
  const int64_t matrix = planned.first_row() / whole.view.rows;
  const int64_t row = planned.first_row() % whole.view.rows;
  const int64_t first = row * whole.view.row_stride + planned.first_col();
  part.stack.clear();
  for (int64_t i = 0; i < planned.stack(); ++i) {
    part.stack.push_back(whole.stack[matrix + i] + first * DTypeBytes(whole.view.dtype));
  }
  part.view.data = part.stack[0];
  part.view.rows = planned.shape(0) / planned.stack();
  part.view.cols = planned.shape(1);
  part.bytes = planned.bytes();
  return part;
}

}  // namespace

Rank::Rank(v1::Plan plan, const StepLimits& limits, const RankOptions& options)
    : plan_(std::move(plan)), limits_(limits), options_(options) {
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
  for (auto [buffer, bytes] :
       {std::pair(&arena_, plan_.arena_bytes()), std::pair(&kv_, kv_bytes)}) {
    absl::StatusOr<Buffer> allocated = Buffer::Allocate(bytes, Pages::kHuge);
    if (!allocated.ok()) return allocated.status();
    *buffer = std::move(*allocated);
  }
  if (options_.exchange != nullptr) options_.exchange->SetArena(options_.rank, arena_.data());
  for (int i = 0; i < plan_.registers_size(); ++i) {
    const v1::Register& r = plan_.registers(i);
    registers_.push_back({.base = arena_.data() + r.offset(),
                          .slot_bytes = r.slot_bytes(),
                          .cols = r.cols(),
                          .row_stride = r.cols(),
                          .first_col = 0,
                          .logit_rows = r.rows() == v1::Register::LOGIT_ROWS,
                          .double_buffered = r.slots() > 1});
  }
  logits_register_ = plan_.logits_register();
  if (logits_register_ < 0 || logits_register_ >= plan_.registers_size() ||
      plan_.registers(logits_register_).slots() != 2) {
    return absl::InvalidArgumentError(absl::StrCat("the plan's logits register ", logits_register_,
                                                   " is not one of its registers with two slots"));
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
    if (absl::Status s = CheckWeight(w, packed); !s.ok()) return s;
    if (w.layout().kind() == v1::Layout::SPLIT) {
      weights_.push_back(
          &parts_.emplace_back(w.stack() > 0 ? PartOfStack(w, packed) : PartOf(w, packed)));
    } else {
      weights_.push_back(&packed);
    }
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
  for (const v1::Actor& actor : plan_.actors()) {
    absl::StatusOr<std::unique_ptr<Actor>> made =
        MakeActor({plan_, actor, registers_, weights_, kv_caches_, *isa, options_.reference_kernels,
                   options_.rank, options_.exchange});
    if (!made.ok()) return made.status();
    scratch_bytes = std::max(scratch_bytes, (*made)->ScratchBytes());
    const bool logit_rows = actor.outputs_size() > 0 && registers_[actor.outputs(0)].logit_rows;
    actors_.push_back({.actor = std::move(*made), .logit_rows = logit_rows});
  }
  absl::StatusOr<Buffer> scratch = Buffer::Allocate(scratch_bytes, Pages::kHuge);
  if (!scratch.ok()) return scratch.status();
  scratch_ = std::move(*scratch);
  return absl::OkStatus();
}

void Rank::Begin(const Step& step, int32_t slot) {
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
  const double begin_seconds = Seconds();
  const uint64_t begin = Ticks();
  // All are through with the last step, and with what they read of each other in it.
  if (options_.exchange != nullptr) options_.exchange->Meet(options_.rank);
  Begin(step, slot);
  result->traffic = {};
  result->logit_traffic = {};
  uint64_t kernel_ticks = 0;
  for (BoundActor& bound : actors_) {
    if (bound.logit_rows && context_.logit_rows == 0) continue;
    const uint64_t fire = Ticks();
    const kernels::Traffic traffic = bound.actor->Fire(context_);
    const uint64_t ticks = Ticks() - fire;
    kernel_ticks += ticks;
    bound.ticks += ticks;
    ++bound.fired;
    result->traffic += traffic;
    if (bound.logit_rows) result->logit_traffic += traffic;
  }
  result->status = absl::OkStatus();
  result->logits = registers_[logits_register_].View<const float>(context_);
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

kernels::TensorView Rank::Kept(int32_t index) const {
  if (plan_.registers(index).type() == v1::I32) {
    return kernels::MakeTensorView(registers_[index].View<const int32_t>(context_));
  }
  return kernels::MakeTensorView(registers_[index].View<const float>(context_));
}

std::vector<ActorProfile> Rank::Profile() const {
  std::vector<ActorProfile> profile;
  const double unit = total_ticks_ == 0 ? 0 : total_seconds_ / static_cast<double>(total_ticks_);
  for (size_t i = 0; i < actors_.size(); ++i) {
    profile.push_back({plan_.actors(static_cast<int>(i)).name(),
                       plan_.actors(static_cast<int>(i)).kind(), actors_[i].fired,
                       unit * static_cast<double>(actors_[i].ticks)});
  }
  return profile;
}

}  // namespace mneme::runtime
