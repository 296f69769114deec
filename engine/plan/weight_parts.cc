#include "engine/plan/weight_parts.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <map>

#include "engine/graph/element_bytes.h"

namespace mneme::plan {
namespace {

using graph::Graph;
using graph::Operator;
using graph::Sbp;
using graph::Signature;

constexpr int64_t kRowAlignment = 64;  // of a value table's rows

// Of the rows that a rank has of the smallest window, a block is at most one in so many: a window
// begins and ends anywhere in the ranks' turns, so a rank may have a block more than its share.
constexpr int64_t kBlocksOfAShare = 64;

// Rows that the selections of each slot tensor may name: a window, around the end if need be.
std::map<int32_t, int64_t> Windows(const Graph& graph) {
  std::map<int32_t, int64_t> windows;
  for (const Operator& op : graph.operators) {
    if (op.kind != v1::PRODUCT_KEY_SELECT) continue;
    const v1::Attributes::Select& a = op.attributes.select();
    windows[op.outputs[2]] = std::min<int64_t>(a.window(), a.slots());
  }
  return windows;
}

int64_t RowBlock(int64_t window, int32_t ranks) {
  const int64_t most = window / ranks / kBlocksOfAShare;
  return static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(std::max<int64_t>(1, most))));
}

}  // namespace

bool ReadsTable(v1::OperatorKind kind) {
  return kind == v1::VALUE_PREFETCH || kind == v1::VALUE_GATHER || kind == v1::PRE_SCORE;
}

int32_t WeightOwner(const Graph& graph, int32_t weight) {
  const int32_t shared = graph.weights[weight].shared_with;
  return shared >= 0 ? shared : weight;
}

std::vector<WeightParts> CutWeights(const Graph& graph, const Partition& partition) {
  const int32_t ranks = partition.ranks();
  const std::map<int32_t, int64_t> windows = Windows(graph);
  std::vector<WeightParts> all(graph.weights.size());
  std::vector<int64_t> window(graph.weights.size(), std::numeric_limits<int64_t>::max());
  for (const Operator& op : graph.operators) {
    if (op.kind == v1::EMBEDDING) {
      WeightParts& w = all[op.weights[0]];
      w.cols = partition.Of(op.outputs[0]);
      w.rows = CutFinely(graph.weights[op.weights[0]].rows, ranks);
      for (const Operator& head : graph.operators) {
        // A tied head's outputs are the vocabulary.
        if (head.kind == v1::LINEAR &&
            WeightOwner(graph, head.weights[0]) == WeightOwner(graph, op.weights[0])) {
          w.rows = partition.Of(head.outputs[0]);
        }
      }
    } else if (op.kind == v1::PRODUCT_KEY_CANDIDATES) {
      const v1::Attributes::Candidates& a = op.attributes.candidates();
      for (size_t i = 0; i < 3; ++i) {
        if (op.weights[i] < 0) continue;
        all[op.weights[i]].rows = CutFinely(a.key_count(), ranks, kKeyGranule);
        all[op.weights[i]].row_chunks = int64_t{a.heads()} * 2;
      }
    } else if (ReadsTable(op.kind)) {
      const v1::Attributes::Gather& a = op.attributes.gather();
      WeightParts& w = all[op.weights[0]];
      w.pre_cols = CutFinely(a.pre_width(), ranks);
      w.cols = CutFinely(a.width(), ranks);
      if (a.pre_width() > 0 && w.pre_cols.empty()) w.cols.clear();
      int64_t& least = window[op.weights[0]];
      const auto found = windows.find(op.inputs[0]);
      const int64_t rows = graph.weights[op.weights[0]].rows;
      least = std::min(least, found == windows.end() ? rows : found->second);
      if (rows >= ranks) w.row_block = RowBlock(least, ranks);
    }
  }
  return all;
}

WeightSplit SplitOf(const Operator& op, const Signature& signature, size_t operand,
                    const Partition& partition) {
  const Sbp sbp = signature.weights[operand];
  WeightSplit split;
  if (op.kind == v1::LINEAR) {
    const bool out = operand == 1 || sbp == Sbp::S(0);
    const int32_t tensor = out ? op.outputs[0] : op.inputs[0];
    split.parts = partition.Of(tensor);
    split.chunks = partition.Chunks(tensor);
    return split;
  }
  if (op.kind == v1::RMS_NORM) {
    split.parts = partition.Of(op.outputs[0]);
    return split;
  }
  const WeightParts& w = partition.OfWeight(op.weights[operand]);
  if (sbp == Sbp::S(0)) {
    split.parts = w.rows;
    split.chunks = w.row_chunks;
    split.block = w.row_block;
  } else {
    split.parts = w.cols;
    split.pre_parts = w.pre_cols;
  }
  return split;
}

double FullestShare(const Graph& graph, const Operator& op, const Signature& signature,
                    size_t operand, const Partition& partition) {
  const Sbp sbp = signature.weights[operand];
  if (sbp.kind != Sbp::Kind::kSplit) return 1;
  const WeightSplit split = SplitOf(op, signature, operand, partition);
  if (!split.possible()) return 1;
  const graph::Weight& w = graph.weights[op.weights[operand]];
  if (split.block > 0) {
    const int64_t cycle = split.block * partition.ranks();
    const int64_t most = w.rows / cycle * split.block + std::min(split.block, w.rows % cycle);
    return static_cast<double>(most) / static_cast<double>(w.rows);
  }
  int64_t most = 0;
  for (size_t r = 0; r < split.parts.size(); ++r) {
    int64_t mine = split.parts[r].size();
    if (!split.pre_parts.empty()) mine += split.pre_parts[r].size();
    most = std::max(most, mine);
  }
  if (w.value_table) {
    // A rank's rows begin on cache lines, as those of the whole table do.
    const int64_t bytes =
        (most * ElementBytes(w.type) + kRowAlignment - 1) / kRowAlignment * kRowAlignment;
    return static_cast<double>(bytes) / static_cast<double>(w.row_bytes);
  }
  const int64_t all = w.rows == 1 || sbp == Sbp::S(1) ? w.cols : w.rows;
  return static_cast<double>(most * split.chunks) / static_cast<double>(all);
}

}  // namespace mneme::plan
