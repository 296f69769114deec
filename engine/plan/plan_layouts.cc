#include "engine/plan/plan_layouts.h"

#include "engine/graph/element_bytes.h"
#include "engine/plan/expert_parts.h"
#include "engine/plan/weight_parts.h"

namespace mneme::plan {
namespace {

using graph::Graph;
using graph::Operator;
using graph::Sbp;
using graph::Signature;

void SplitExperts(const Graph& graph, const Operator& op, const Signature& s, int32_t ranks,
                  v1::Plan* plan) {
  const Parts parts = PartsOfExperts(graph, op, s, ranks);
  if (parts.empty()) return;
  for (size_t i = 0; i < op.weights.size(); ++i) {
    v1::Layout* layout = plan->mutable_weights(op.weights[i])->mutable_layout();
    *layout = LayoutOf(s.weights[i]);
    SetParts(parts, 1, layout);
  }
}

void SplitWeights(const Graph& graph, const Operator& op, const Signature& s,
                  const Partition& partition, v1::Plan* plan) {
  if (op.kind == v1::EXPERTS) return SplitExperts(graph, op, s, partition.ranks(), plan);
  for (size_t i = 0; i < op.weights.size(); ++i) {
    if (op.weights[i] < 0 || s.weights[i].kind != Sbp::Kind::kSplit) continue;
    const WeightSplit split = SplitOf(op, s, i, partition);
    v1::Layout layout = LayoutOf(s.weights[i]);
    layout.set_block(split.block);
    if (split.block == 0) SetParts(split.parts, 1, &layout);
    for (const Part& part : split.pre_parts) {
      v1::Layout::Part* out = layout.add_pre_parts();
      out->set_begin(part.begin);
      out->set_end(part.end);
    }
    if (split.chunks > 1) layout.set_chunks(static_cast<int32_t>(split.chunks));
    *plan->mutable_weights(op.weights[i])->mutable_layout() = layout;
  }
}

}  // namespace

v1::Layout LayoutOf(Sbp sbp) {
  v1::Layout layout;
  switch (sbp.kind) {
    case Sbp::Kind::kBroadcast:
      layout.set_kind(v1::Layout::BROADCAST);
      break;
    case Sbp::Kind::kSplit:
      layout.set_kind(v1::Layout::SPLIT);
      layout.set_axis(sbp.axis);
      break;
    case Sbp::Kind::kPartial:
      layout.set_kind(v1::Layout::PARTIAL);
      break;
  }
  return layout;
}

void SetParts(const Parts& parts, int64_t width, v1::Layout* layout) {
  for (const Part& part : parts) {
    v1::Layout::Part* out = layout->add_parts();
    out->set_begin(part.begin / width);
    out->set_end(part.end / width);
  }
}

void AddWeights(const Graph& graph, const Partition& partition,
                const std::vector<Signature>& signatures, v1::Plan* plan) {
  for (const graph::Weight& w : graph.weights) {
    v1::Weight* weight = plan->add_weights();
    weight->set_name(loader::WeightName(w.id));
    weight->set_role(static_cast<int32_t>(w.id.role));
    weight->set_layer(w.id.layer);
    weight->set_type(w.type);
    weight->add_shape(w.rows);
    weight->add_shape(w.cols);
    *weight->mutable_layout() = LayoutOf(Sbp::B());
    weight->set_bytes(w.value_table ? w.rows * w.row_bytes
                                    : w.rows * w.cols * ElementBytes(w.type));
    weight->set_value_table(w.value_table);
    weight->set_stack(static_cast<int32_t>(w.stack));
    if (w.shared_with >= 0) {
      weight->set_shared_with(loader::WeightName(graph.weights[w.shared_with].id));
    }
  }
  for (size_t i = 0; i < graph.operators.size(); ++i) {
    SplitWeights(graph, graph.operators[i], signatures[i], partition, plan);
  }
}

}  // namespace mneme::plan
