// Actors of the memory layers that read value tables: all of one, some of its rows, or some of its
// columns.
#include <bit>
#include <memory>

#include "engine/runtime/actor.h"
#include "kernels/pre_score/pre_score.h"
#include "kernels/value_gather/value_gather.h"

namespace mneme::runtime {
namespace {

using kernels::Traffic;

// The actor's table: its columns, where they lie. pre: whether it reads pre-values.
kernels::ValueTable TableOf(const ActorBinding& b, bool pre, bool values) {
  const loader::PackedTable& t = b.Weight(0)->table;
  const v1::Attributes::Gather& a = b.actor.attributes().gather();
  kernels::ValueTable table = {
      t.data, t.rows, t.row_stride_bytes, t.dtype, pre ? a.pre_width() : 0, values ? a.width() : 0};
  // A rank may have its columns by themselves, or see them in the whole table.
  const bool among_others = a.table_width() > 0 && t.width == a.table_width();
  table.pre_offset = among_others ? a.first_pre_col() : 0;
  table.value_offset = t.pre_width + (among_others ? a.first_col() : 0);
  return table;
}

// Which rows are the actor's: those of the whole table, in whose memory they lie, or of a table
// that has nothing else.
kernels::RowShare ShareOf(const ActorBinding& b) {
  const v1::Weight& w = b.plan.weights(b.actor.weights(0));
  const int64_t block = w.layout().block();
  if (block == 0) return {};
  return {.rank = static_cast<int32_t>(w.first_row() / block),
          .ranks = b.plan.cluster().ranks(),
          .block_shift = std::countr_zero(static_cast<uint64_t>(block)),
          .packed = b.Weight(0)->table.rows == w.shape(0)};
}

class PrefetchActor : public Actor {
 public:
  explicit PrefetchActor(const ActorBinding& b)
      : table_(TableOf(b, true, true)), share_(ShareOf(b)), slot_(b.Input(0)) {}
  Traffic Fire(const StepContext& step) override {
    return kernels::ValuePrefetch(
        {.table = table_, .share = share_, .slot = slot_.View<const int32_t>(step)});
  }

 private:
  const kernels::ValueTable table_;
  const kernels::RowShare share_;
  const RegisterRef slot_;
};

class PreScoreActor : public Actor {
 public:
  explicit PreScoreActor(const ActorBinding& b)
      : max_tokens_(b.plan.limits().max_tokens()),
        selections_(b.actor.attributes().gather().selections()),
        slot_(b.Input(0)),
        pre_query_(OwnColumns(b)),
        y_(b.Output(0)),
        run_(b.reference_kernels ? kernels::PreScoreReference
                                 : kernels::ResolvePreScore(b.Weight(0)->table.dtype, b.isa)) {
    args_.table = TableOf(b, true, false);
  }
  Traffic Fire(const StepContext& step) override {
    args_.pre_query = pre_query_.View<const float>(step);
    args_.slot = slot_.View<const int32_t>(step);
    args_.y = y_.View<float>(step);
    args_.scratch = step.scratch;
    args_.token_bytes = step.token_value_row_bytes + y_.Rows(step).begin;
    return run_(args_);
  }
  int64_t ScratchBytes() const override {
    return kernels::PreScoreScratchBytes(max_tokens_, selections_);
  }

 private:
  // Of the whole pre-query, the columns that meet the rank's pre-values.
  static RegisterRef OwnColumns(const ActorBinding& b) {
    const v1::Attributes::Gather& a = b.actor.attributes().gather();
    RegisterRef query = b.Input(1);
    query.first_col += a.first_pre_col();
    query.cols = a.pre_width();
    return query;
  }

  const int64_t max_tokens_;
  const int32_t selections_;
  const RegisterRef slot_;
  const RegisterRef pre_query_;
  const RegisterRef y_;
  const kernels::PreScoreFn run_;
  kernels::PreScoreArgs args_;
};

class GatherActor : public Actor {
 public:
  explicit GatherActor(const ActorBinding& b)
      : max_tokens_(b.plan.limits().max_tokens()),
        selections_(b.actor.attributes().gather().selections()),
        slot_(b.Input(0)),
        group_(b.Input(1)),
        weight_(b.Input(2)),
        pre_query_(b.Input(3)),
        pre_score_(b.Input(4)),
        y_(b.Output(0)),
        run_(b.reference_kernels ? kernels::ValueGatherReference
                                 : kernels::ResolveValueGather(b.Weight(0)->table.dtype, b.isa)) {
    const v1::Attributes::Gather& a = b.actor.attributes().gather();
    args_.table = TableOf(b, /*pre=*/pre_query_.base != nullptr, true);
    args_.share = ShareOf(b);
    args_.cores = a.cores();
    args_.expand_groups = a.expand_groups();
    args_.gelu_pre_score = a.gelu_pre_score();
    args_.first_col = a.first_col();
    args_.table_width = a.table_width();
  }
  Traffic Fire(const StepContext& step) override {
    args_.pre_query = pre_query_.View<const float>(step);
    args_.pre_score = pre_score_.View<const float>(step);
    args_.slot = slot_.View<const int32_t>(step);
    args_.group = group_.View<const int32_t>(step);
    args_.weight = weight_.View<const float>(step);
    args_.y = y_.View<float>(step);
    args_.scratch = step.scratch;
    args_.token_bytes = step.token_value_row_bytes + y_.Rows(step).begin;
    return run_(args_);
  }
  int64_t ScratchBytes() const override {
    return kernels::ValueGatherScratchBytes(max_tokens_, selections_);
  }

 private:
  const int64_t max_tokens_;
  const int32_t selections_;
  const RegisterRef slot_;
  const RegisterRef group_;
  const RegisterRef weight_;
  const RegisterRef pre_query_;
  const RegisterRef pre_score_;
  const RegisterRef y_;
  const kernels::ValueGatherFn run_;
  kernels::ValueGatherArgs args_;
};

}  // namespace

std::unique_ptr<Actor> MakeTableActor(const ActorBinding& b) {
  switch (b.actor.kind()) {
    case v1::VALUE_PREFETCH:
      return std::make_unique<PrefetchActor>(b);
    case v1::PRE_SCORE:
      return std::make_unique<PreScoreActor>(b);
    case v1::VALUE_GATHER:
      return std::make_unique<GatherActor>(b);
    default:
      return nullptr;
  }
}

}  // namespace mneme::runtime
