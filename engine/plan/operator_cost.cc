#include "engine/plan/operator_cost.h"

#include <algorithm>
#include <cmath>

#include "engine/graph/element_bytes.h"
#include "engine/plan/expert_parts.h"
#include "engine/plan/row_splits.h"
#include "engine/plan/weight_parts.h"

namespace mneme::plan {
namespace {

using graph::Operator;
using graph::Sbp;

constexpr double kLine = 64;  // bytes that a read of less fetches

bool On(const GridSignature& s, int axis, int weight, Sbp sbp) {
  return s[axis].weights[weight] == sbp;
}

// Ranks over which a weight is split along `axis`.
int32_t SplitOver(const Grid& grid, const GridSignature& s, int weight, int axis) {
  int32_t ranks = 1;
  for (int a : {kOuter, kInner}) {
    if (On(s, a, weight, Sbp::S(axis))) ranks *= grid.ranks[a];
  }
  return ranks;
}

int64_t Most(const Parts& parts) {
  int64_t most = 0;
  for (const Part& part : parts) most = std::max(most, part.size());
  return most;
}

// Over how many ranks the rows that an operator computes are divided.
int32_t RowParts(const Grid& grid, const GridSignature& s) {
  int32_t parts = 1;
  for (int axis : {kOuter, kInner}) {
    if (SplitsRows(s[axis])) parts *= grid.ranks[axis];
  }
  return parts;
}

GridLayout InputLayout(const GridSignature& s, size_t i) {
  return {s[kOuter].inputs[i], s[kInner].inputs[i]};
}

}  // namespace

double Pricing::Rows(int32_t tensor) const {
  return static_cast<double>(
      graph_.tensors[tensor].rows == v1::Register::LOGIT_ROWS ? step_.logit_rows : step_.tokens);
}

double Pricing::Share(int32_t tensor, const GridLayout& layout) const {
  return partition_.Share(graph_, tensor, layout[kOuter] == Sbp::S(1), layout[kInner] == Sbp::S(1));
}

double Pricing::WeightBytes(int32_t weight) const {
  const graph::Weight& w = graph_.weights[weight];
  return w.value_table ? static_cast<double>(w.rows) * static_cast<double>(w.row_bytes)
                       : static_cast<double>(w.rows * w.cols) * ElementBytes(w.type);
}

double Pricing::ShareAlong(const Operator& op, const GridSignature& s, int operand,
                           int weight_axis) const {
  const bool outer = On(s, kOuter, operand, Sbp::S(weight_axis));
  const bool inner = On(s, kInner, operand, Sbp::S(weight_axis));
  if (!outer && !inner) return 1;
  const graph::Signature& split = s[inner ? kInner : kOuter];
  const Partition& partition = partition_.over(outer, inner);
  if (op.kind != v1::EXPERTS) {
    return FullestShare(graph_, op, split, static_cast<size_t>(operand), partition);
  }
  const graph::Weight& down = graph_.weights[op.weights[2]];
  const int64_t most = Most(PartsOfExperts(graph_, op, split, partition.ranks()));
  return static_cast<double>(most) / static_cast<double>(weight_axis == 0 ? down.stack : down.cols);
}

double Pricing::WeightShare(const Operator& op, const GridSignature& s, int operand) const {
  double share = 1;
  for (int axis = 0; axis < 3; ++axis) share *= ShareAlong(op, s, operand, axis);
  return share;
}

double Pricing::CacheShare(const Operator& append, const GridLayout& keys) const {
  return Share(append.inputs[0], keys);
}

void Pricing::Attention(const Operator& op, const GridSignature& s, Work* work) const {
  const v1::Attributes::Attention& a = op.attributes.attention();
  double heads = a.heads();
  double kv_heads = a.kv_heads();
  const bool outer = s[kOuter].inputs[0] == Sbp::S(1);
  const bool inner = s[kInner].inputs[0] == Sbp::S(1);
  if (outer || inner) {
    const HeadParts cut = CutHeads(a.heads(), a.kv_heads(), partition_.over(outer, inner).ranks());
    heads = static_cast<double>(Most(cut.heads));
    kv_heads = static_cast<double>(Most(cut.kv_heads));
  }
  const double each = static_cast<double>(step_.tokens) / static_cast<double>(step_.sequences);
  const double context = static_cast<double>(step_.context);
  const double window = a.window() > 0 ? a.window() : context + each;
  // Tokens whose window is not full: each of them sees one position more than the one before it.
  const double growing = std::clamp(window - context, 0.0, each);
  const double seen =  // by a token, on average
      (growing * (context + (growing + 1) / 2) + (each - growing) * window) / each;
  const double kept = std::min(context, window - 1) + each;
  work->bytes = 8 * kv_heads * a.head_dim() * kept * static_cast<double>(step_.sequences);
  // Dots and sums, in float32, a query at a time.
  work->weights = 2 * heads * a.head_dim() * seen;
  work->weight_rows = static_cast<double>(step_.tokens);
}

void Pricing::Gather(const Operator& op, const GridSignature& s, Work* work) const {
  const v1::Attributes::Gather& a = op.attributes.gather();
  const graph::Weight& table = graph_.weights[op.weights[0]];
  const Grid& grid = partition_.grid();
  const double selections = a.selections() * Share(op.inputs[0], InputLayout(s, 0));
  // Rows that fall to a rank by where they lie.
  const int32_t owners = SplitOver(grid, s, 0, 0);
  const double rows = selections * static_cast<double>(step_.tokens);
  work->rows = SpreadItems(std::llround(rows), owners);
  // Of a pre-score the pre-values, of a gather that is given pre-scores only the values.
  const int64_t cols = op.kind == v1::PRE_SCORE ? a.pre_width()
                       : op.inputs[4] >= 0      ? a.width()
                                                : int64_t{a.pre_width()} + a.width();
  work->row_bytes = static_cast<double>(cols) * ElementBytes(table.type) *
                    ShareAlong(op, s, 0, /*weight_axis=*/1);
}

// A token's experts are read as a table's rows are: of those that all tokens chose, each once.
void Pricing::Experts(const Operator& op, const GridSignature& s, Work* work) const {
  const graph::Weight& down = graph_.weights[op.weights[2]];
  const int64_t experts = down.stack;
  const int64_t top_k = graph_.tensors[op.inputs[1]].cols;
  const int32_t owners = SplitOver(partition_.grid(), s, 0, 0);
  const Load uses = ExpertUses(experts, top_k, owners, step_.tokens);
  work->rows = ActiveExperts(experts, top_k, owners, step_.tokens);
  work->row_bytes = 0;
  double weights = 0;
  for (int i = 0; i < 3; ++i) {
    const graph::Weight& w = graph_.weights[op.weights[i]];
    const double of_one = static_cast<double>(w.rows * w.cols) / static_cast<double>(experts) *
                          ShareAlong(op, s, i, 1) * ShareAlong(op, s, i, 2);
    weights += of_one;
    work->row_bytes += of_one * ElementBytes(w.type);
  }
  work->bf16 = down.type == v1::BF16;
  work->weights = work->rows.maximum * weights;
  work->weight_rows = std::max(1.0, uses.maximum / work->rows.maximum);
}

Work Pricing::WorkOf(const Operator& op, const GridSignature& s) const {
  const int32_t parts = RowParts(partition_.grid(), s);
  if (parts == 1) return WorkOnRows(op, s);
  StepShape part = step_;
  part.tokens = (part.tokens + parts - 1) / parts;
  return Pricing(graph_, partition_, cost_, part).WorkOnRows(op, s);
}

Work Pricing::WorkOnRows(const Operator& op, const GridSignature& s) const {
  Work work;
  const double tokens = static_cast<double>(step_.tokens);
  for (size_t i = 0; i < op.weights.size(); ++i) {
    if (op.weights[i] < 0) continue;
    work.bytes += WeightBytes(op.weights[i]) * WeightShare(op, s, static_cast<int>(i));
  }
  switch (op.kind) {
    case v1::EMBEDDING: {
      const graph::Weight& table = graph_.weights[op.weights[0]];
      work.rows = SpreadItems(step_.tokens, SplitOver(partition_.grid(), s, 0, 0));
      work.row_bytes = static_cast<double>(table.cols) * ElementBytes(table.type) *
                       ShareAlong(op, s, 0, /*weight_axis=*/1);
      work.bytes = 0;
      break;
    }
    case v1::LINEAR: {
      const graph::Weight& w = graph_.weights[op.weights[0]];
      work.bf16 = w.type == v1::BF16;
      work.weights = static_cast<double>(w.rows * w.cols) * WeightShare(op, s, 0);
      work.weight_rows = Rows(op.inputs[0]);
      break;
    }
    case v1::PRODUCT_KEY_CANDIDATES: {
      const graph::Weight& keys = graph_.weights[op.weights[0]];
      work.bf16 = keys.type == v1::BF16;
      work.weights = static_cast<double>(keys.rows * keys.cols) * WeightShare(op, s, 0);
      work.weight_rows = tokens;
      break;
    }
    case v1::PRODUCT_KEY_SELECT: {
      const v1::Attributes::Select& a = op.attributes.select();
      // Each pair of candidates is scored by each core; the shuffle is read where it is selected.
      const double pairs = static_cast<double>(a.heads()) * a.top_k() * a.top_k();
      work.weights = pairs * std::max(1, a.cores()) * a.rank() * (a.rank() + 1);
      work.weight_rows = tokens;
      work.rows.mean = op.weights[1] < 0 ? 0 : tokens * a.heads() * a.top_k();
      work.rows.maximum = work.rows.mean;
      work.row_bytes = kLine;
      work.bytes = 0;
      break;
    }
    case v1::VALUE_PREFETCH:
      work.bytes = 0;  // the gather pays for the rows
      break;
    case v1::EXPERTS:
      work.bytes = 0;
      Experts(op, s, &work);
      break;
    case v1::PRE_SCORE:
    case v1::VALUE_GATHER:
      work.bytes = 0;
      Gather(op, s, &work);
      break;
    case v1::ATTENTION:
      Attention(op, s, &work);
      break;
    case v1::ROPE:
      work.bytes = 0;  // a row of each table
      break;
    default:  // activations stay in caches
      break;
  }
  return work;
}

Price Pricing::PriceOf(const Operator& op, const GridSignature& s) const {
  const Work work = WorkOf(op, s);
  const double row = cost_.row_seconds + work.row_bytes / cost_.bytes_per_second;
  const double streamed = work.bytes / cost_.bytes_per_second;
  const double arithmetic =
      work.weights > 0 ? ArithmeticSeconds(cost_, work.bf16, work.weight_rows, work.weights) : 0;
  return {.seconds = std::max(streamed + work.rows.maximum * row, arithmetic),
          .mean_seconds = std::max(streamed + work.rows.mean * row, arithmetic),
          .bytes = work.bytes + work.rows.maximum * work.row_bytes};
}

double Pricing::ExchangeBytes(int32_t tensor, const Transfer& transfer) const {
  const int axis = transfer.axis;
  const double n = partition_.grid().ranks[axis];
  const bool divided = transfer.other == Sbp::S(1);
  double share =
      partition_.Share(graph_, tensor, axis == kInner && divided, axis == kOuter && divided);
  if (transfer.other == Sbp::S(0)) share /= partition_.grid().ranks[1 - axis];
  double cols = static_cast<double>(graph_.tensors[tensor].cols);
  if (transfer.from == Sbp::S(1)) {
    // Of product-key candidates each rank has as many as the merge leaves.
    cols =
        static_cast<double>(partition_.over(axis == kOuter, axis == kInner).Of(tensor).back().end);
  }
  // All that is reduced goes to the rank that sums it; what is gathered comes from there.
  const double ways = transfer.from == Sbp::P() && transfer.to == Sbp::B() ? 2 : 1;
  return ways * 4 * Rows(tensor) * cols * share * (n - 1) / n;
}

double Pricing::ExchangeSeconds(int32_t tensor, const Transfer& transfer) const {
  const int axis = transfer.axis;
  const Link link = axis == kOuter ? cost_.outer
                                   : Link{cost_.exchange_bytes_per_second, cost_.exchange_seconds,
                                          cost_.exchange_seconds_per_rank};
  const double bytes = ExchangeBytes(tensor, transfer) / link.bytes_per_second;
  if (graph_.tensors[tensor].type == v1::I32 && transfer.from == Sbp::S(1)) return bytes;
  return link.seconds + link.seconds_per_rank * (partition_.grid().ranks[axis] - 1) + bytes;
}

}  // namespace mneme::plan
