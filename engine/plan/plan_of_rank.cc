#include "engine/plan/plan_of_rank.h"

#include <algorithm>

#include "engine/graph/element_bytes.h"

namespace mneme::plan {
namespace {

bool Split(const v1::Layout& layout) { return layout.kind() == v1::Layout::SPLIT; }

// Of a register. Its rows are divided step by step, where it lies whole.
bool SplitsColumns(const v1::Layout& layout) { return Split(layout) && layout.axis() == 1; }

// Along the split axis, all chunks together.
int64_t Size(const v1::Layout& layout, int32_t rank) {
  return (layout.parts(rank).end() - layout.parts(rank).begin()) * std::max(1, layout.chunks());
}

// Rows of a table that are dealt out in blocks: those of the rank. The last block may be short.
int64_t RowsOf(int64_t rows, int64_t block, int32_t ranks, int32_t rank) {
  const int64_t cycle = block * ranks;
  const int64_t rest = std::clamp<int64_t>(rows % cycle - rank * block, 0, block);
  return rows / cycle * block + rest;
}

void CutTable(int32_t ranks, int32_t rank, v1::Weight* w) {
  const v1::Layout& layout = w->layout();
  if (layout.axis() == 0) {
    const int64_t row_bytes = w->bytes() / w->shape(0);
    w->set_shape(0, RowsOf(w->shape(0), layout.block(), ranks, rank));
    w->set_bytes(w->shape(0) * row_bytes);
    w->set_first_row(rank * layout.block());
    return;
  }
  int64_t cols = Size(layout, rank);
  if (!layout.pre_parts().empty()) {
    cols += layout.pre_parts(rank).end() - layout.pre_parts(rank).begin();
  }
  w->set_shape(1, cols);
  w->set_first_col(layout.parts(rank).begin());
  // Rows on cache lines, as the whole table has them.
  w->set_bytes(w->shape(0) * ((cols * ElementBytes(w->type()) + 63) / 64 * 64));
}

// A part of each of the stacked matrices, or some of them.
void CutStack(int32_t rank, v1::Weight* w) {
  const int64_t matrix_rows = w->shape(0) / w->stack();
  const int64_t begin = w->layout().parts(rank).begin();
  const int64_t size = Size(w->layout(), rank);
  const int axis = w->layout().axis();
  const int64_t whole = axis == 0 ? w->stack() : axis == 1 ? matrix_rows : w->shape(1);
  w->set_bytes(w->bytes() / whole * size);
  if (axis == 2) {
    w->set_shape(1, size);
    w->set_first_col(begin);
    return;
  }
  w->set_shape(0, axis == 0 ? size * matrix_rows : w->stack() * size);
  w->set_first_row(axis == 0 ? begin * matrix_rows : begin);
  if (axis == 0) w->set_stack(static_cast<int32_t>(size));
}

void CutWeight(int32_t ranks, int32_t rank, v1::Weight* w) {
  if (!Split(w->layout())) return;
  if (w->value_table()) return CutTable(ranks, rank, w);
  if (w->stack() > 0) return CutStack(rank, w);
  const int axis = w->layout().axis();
  w->set_bytes(w->bytes() / w->shape(axis) * Size(w->layout(), rank));
  w->set_shape(axis, Size(w->layout(), rank));
  const int64_t begin = w->layout().parts(rank).begin();
  axis == 0 ? w->set_first_row(begin) : w->set_first_col(begin);
}

void CutCache(int32_t rank, v1::KvCache* cache) {
  if (!Split(cache->layout())) return;
  const int64_t heads = Size(cache->layout(), rank);
  cache->set_bytes(cache->bytes() / cache->kv_heads() * heads);
  cache->set_kv_heads(static_cast<int32_t>(heads));
}

// Which columns of each input are read, and which inputs are absent here.
void CutInputs(const v1::Plan& plan, int32_t rank, v1::Actor* actor) {
  if (actor->input_layouts().empty()) return;
  for (int i = 0; i < actor->inputs_size(); ++i) {
    v1::Layout::Part* columns = actor->add_input_columns();
    if (actor->inputs(i) < 0) continue;
    const v1::Register& reg = plan.registers(actor->inputs(i));
    const v1::Layout& read = actor->input_layouts(i);
    columns->set_end(SplitsColumns(reg.layout()) ? Size(reg.layout(), rank) : reg.cols());
    if (reg.layout().kind() != v1::Layout::BROADCAST) continue;
    if (SplitsColumns(read)) *columns = read.parts(rank);
    if (read.kind() == v1::Layout::PARTIAL && rank > 0) actor->set_inputs(i, -1);
  }
}

// Columns of an input as the rank reads them.
int64_t Columns(const v1::Plan& plan, int32_t rank, const v1::Actor& actor, int input) {
  if (!actor.input_columns().empty()) {
    return actor.input_columns(input).end() - actor.input_columns(input).begin();
  }
  const v1::Register& reg = plan.registers(actor.inputs(input));
  return SplitsColumns(reg.layout()) ? Size(reg.layout(), rank) : reg.cols();
}

// Whether the columns of an input that the rank reads are those of the rank before.
bool SharesColumns(const v1::Plan& plan, int32_t rank, const v1::Actor& actor, int input) {
  if (actor.inputs(input) < 0) return false;
  const v1::Layout& layout = actor.input_layouts().empty()
                                 ? plan.registers(actor.inputs(input)).layout()
                                 : actor.input_layouts(input);
  return SplitsColumns(layout) && layout.parts(rank).begin() == layout.parts(rank - 1).begin();
}

// The rank's columns of a table that is split along them.
void CutTableColumns(const v1::Layout& layout, int32_t rank, v1::Attributes::Gather* a) {
  if (!Split(layout) || layout.axis() != 1) return;
  a->set_table_width(a->width());
  a->set_table_pre_width(a->pre_width());
  a->set_first_col(static_cast<int32_t>(layout.parts(rank).begin()));
  a->set_width(static_cast<int32_t>(Size(layout, rank)));
  if (layout.pre_parts().empty()) return;
  const v1::Layout::Part& pre = layout.pre_parts(rank);
  a->set_first_pre_col(static_cast<int32_t>(pre.begin()));
  a->set_pre_width(static_cast<int32_t>(pre.end() - pre.begin()));
}

void CutAttributes(const v1::Plan& plan, int32_t rank, v1::Actor* actor) {
  v1::Attributes* attributes = actor->mutable_attributes();
  switch (actor->kind()) {
    case v1::ATTENTION: {
      v1::Attributes::Attention* a = attributes->mutable_attention();
      a->set_heads(static_cast<int32_t>(Columns(plan, rank, *actor, 0) / a->head_dim()));
      for (const v1::KvCache& cache : plan.kv_caches()) {
        if (cache.layer() == a->layer() && Split(cache.layout())) {
          a->set_kv_heads(static_cast<int32_t>(Size(cache.layout(), rank)));
        }
      }
      break;
    }
    case v1::PRODUCT_KEY_CANDIDATES: {
      const v1::Layout& keys = plan.weights(actor->weights(0)).layout();
      if (!Split(keys)) break;
      v1::Attributes::Candidates* a = attributes->mutable_candidates();
      const v1::Layout::Part& part = keys.parts(rank);
      a->set_first_key(static_cast<int32_t>(part.begin()));
      a->set_key_count(static_cast<int32_t>(part.end() - part.begin()));
      a->set_top_k(std::min(a->top_k(), a->key_count()));
      break;
    }
    case v1::EXPERTS: {
      const v1::Layout& layout = plan.weights(actor->weights(0)).layout();
      if (!Split(layout) || layout.axis() != 0) break;
      attributes->mutable_experts()->set_experts(static_cast<int32_t>(Size(layout, rank)));
      attributes->mutable_experts()->set_first(static_cast<int32_t>(layout.parts(rank).begin()));
      break;
    }
    case v1::VALUE_GATHER:
    case v1::VALUE_PREFETCH:
    case v1::PRE_SCORE: {
      v1::Attributes::Gather* a = attributes->mutable_gather();
      a->set_selections(static_cast<int32_t>(Columns(plan, rank, *actor, 0)));
      CutTableColumns(plan.weights(actor->weights(0)).layout(), rank, a);
      break;
    }
    case v1::SQUARE_SUM:
      // Heads that ranks share are counted by the first of them.
      for (int i = 0; i < actor->inputs_size(); ++i) {
        if (rank > 0 && SharesColumns(plan, rank, *actor, i)) actor->set_inputs(i, -1);
      }
      break;
    case v1::LINEAR:
      // One rank adds the bias to a sum.
      if (rank > 0 && plan.registers(actor->outputs(0)).layout().kind() == v1::Layout::PARTIAL) {
        actor->set_weights(1, -1);
      }
      break;
    default:
      break;
  }
}

}  // namespace

v1::Plan PlanOfProgram(const v1::Plan& plan, int32_t index) {
  const v1::Program& program = plan.programs(index);
  v1::Plan alone = plan;
  alone.clear_programs();
  *alone.mutable_registers() = program.registers();
  *alone.mutable_actors() = program.actors();
  alone.set_logits_register(program.logits_register());
  return alone;
}

v1::Plan PlanOfRank(const v1::Plan& plan, int32_t rank) {
  v1::Plan local = plan;
  if (plan.cluster().ranks() == 1) return local;
  for (int32_t p = 0; p < plan.programs_size(); ++p) {
    v1::Plan program = PlanOfRank(PlanOfProgram(plan, p), rank);
    local.mutable_programs(p)->mutable_registers()->Swap(program.mutable_registers());
    local.mutable_programs(p)->mutable_actors()->Swap(program.mutable_actors());
  }
  for (v1::Actor& actor : *local.mutable_actors()) {
    CutInputs(plan, rank, &actor);
    CutAttributes(plan, rank, &actor);
  }
  for (v1::Weight& w : *local.mutable_weights()) CutWeight(plan.cluster().ranks(), rank, &w);
  for (v1::KvCache& cache : *local.mutable_kv_caches()) CutCache(rank, &cache);
  for (v1::Register& reg : *local.mutable_registers()) {
    if (SplitsColumns(reg.layout())) reg.set_cols(Size(reg.layout(), rank));
  }
  return local;
}

}  // namespace mneme::plan
