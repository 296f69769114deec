#include "engine/plan/operator_cost.h"

#include <algorithm>
#include <cmath>

namespace mneme::plan {
namespace {

using graph::Operator;
using graph::Sbp;

constexpr double kLine = 64;  // bytes that a read of less fetches

double ElementBytes(v1::ElementType type) { return type == v1::BF16 ? 2 : 4; }

bool On(const GridSignature& s, int axis, int weight, Sbp sbp) {
  return s[axis].weights[weight] == sbp;
}

// The largest part of `count` things that are dealt out evenly.
double EvenShare(int64_t count, int32_t ranks) {
  const int64_t most = (count + ranks - 1) / ranks;
  return static_cast<double>(most) / static_cast<double>(count);
}

// Ranks over which a weight is split along `axis`.
int32_t SplitOver(const Grid& grid, const GridSignature& s, int weight, int axis) {
  int32_t ranks = 1;
  for (int a : {kOuter, kInner}) {
    if (On(s, a, weight, Sbp::S(axis))) ranks *= grid.ranks[a];
  }
  return ranks;
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

double Pricing::WeightShare(const Operator& op, const GridSignature& s, int operand) const {
  const graph::Weight& w = graph_.weights[op.weights[operand]];
  if (op.kind == v1::LINEAR) {
    const auto is = [&](int axis, Sbp sbp) { return On(s, axis, 0, sbp); };
    const double out =
        partition_.Share(graph_, op.outputs[0], is(kOuter, Sbp::S(0)), is(kInner, Sbp::S(0)));
    if (operand == 1) return out;
    return out *
           partition_.Share(graph_, op.inputs[0], is(kOuter, Sbp::S(1)), is(kInner, Sbp::S(1)));
  }
  const Grid& grid = partition_.grid();
  return EvenShare(w.rows, SplitOver(grid, s, operand, 0)) *
         EvenShare(w.cols, SplitOver(grid, s, operand, 1));
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
    const auto most = [](const Parts& parts) {
      int64_t size = 0;
      for (const Part& part : parts) size = std::max(size, part.size());
      return static_cast<double>(size);
    };
    heads = most(cut.heads);
    kv_heads = most(cut.kv_heads);
  }
  const double each = static_cast<double>(step_.tokens) / static_cast<double>(step_.sequences);
  const double seen =
      static_cast<double>(step_.context) + (each + 1) / 2;  // by a token, on average
  const double kept = static_cast<double>(step_.context) + each;
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
  work->row_bytes = static_cast<double>(int64_t{a.pre_width()} + a.width()) *
                    ElementBytes(table.type) * EvenShare(table.cols, SplitOver(grid, s, 0, 1));
}

Work Pricing::WorkOf(const Operator& op, const GridSignature& s) const {
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
                       EvenShare(table.cols, SplitOver(partition_.grid(), s, 0, 1));
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

double Pricing::ExchangeBytes(int32_t tensor, int axis, Sbp from, Sbp other) const {
  const double n = partition_.grid().ranks[axis];
  const double share = partition_.Share(graph_, tensor, axis == kInner && other == Sbp::S(1),
                                        axis == kOuter && other == Sbp::S(1));
  const double bytes = 4 * Rows(tensor) * static_cast<double>(graph_.tensors[tensor].cols) * share;
  return (from == Sbp::P() ? 2 : 1) * bytes * (n - 1) / n;
}

double Pricing::ExchangeSeconds(int32_t tensor, int axis, Sbp from, Sbp other) const {
  const Link link = axis == kOuter ? cost_.outer
                                   : Link{cost_.exchange_bytes_per_second, cost_.exchange_seconds,
                                          cost_.exchange_seconds_per_rank};
  return link.seconds + link.seconds_per_rank * (partition_.grid().ranks[axis] - 1) +
         ExchangeBytes(tensor, axis, from, other) / link.bytes_per_second;
}

}  // namespace mneme::plan
