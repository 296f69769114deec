#include "engine/plan/partition.h"

#include <algorithm>
#include <numeric>

#include "engine/plan/weight_parts.h"

namespace mneme::plan {
namespace {

using graph::Graph;
using graph::Operator;

// Columns that a kernel reads in whole cache lines of bf16 weights, and its vectors.
constexpr int64_t kTile = kColumnGranule;
constexpr int64_t kVector = 16;

// Where granules are free the fullest rank has at most so much more than its even share: 1/16.
constexpr int64_t kEvenOf = 16;

// Finds the tensors that are cut alike, and what their cuts must respect.
class Groups {
 public:
  explicit Groups(const Graph& graph)
      : graph_(graph),
        parent_(graph.tensors.size()),
        granule_(graph.tensors.size(), 1),
        chunks_(graph.tensors.size(), 0) {
    std::iota(parent_.begin(), parent_.end(), 0);
    for (const Operator& op : graph.operators) Add(op);
  }

  int32_t Root(int32_t tensor) {
    while (parent_[tensor] != tensor) tensor = parent_[tensor] = parent_[parent_[tensor]];
    return tensor;
  }

  Parts PartsOf(int32_t root, int32_t ranks) const {
    for (const Heads& h : heads_) {
      if (h.tensor != root) continue;
      const HeadParts cut = CutHeads(h.heads, h.kv_heads, ranks);
      Parts parts = h.kv ? cut.kv_heads : cut.heads;
      for (Part& part : parts) part = {part.begin * h.head_dim, part.end * h.head_dim};
      return parts;
    }
    for (const Candidates& c : candidates_) {
      if (c.tensor == root) return CandidateParts(c, ranks);
    }
    const int64_t cols = graph_.tensors[root].cols;
    if (chunks_[root] > 0) return CutFinely(cols / chunks_[root], ranks);
    if (granule_[root] > 1 || exact_[root]) return CutEvenly(cols, granule_[root], ranks);
    return CutColumns(cols, ranks);
  }

  int64_t Chunks(int32_t root) const { return std::max<int64_t>(1, chunks_[root]); }

  // After all operators are known.
  void Settle() {
    exact_.assign(parent_.size(), false);
    for (int32_t tensor : counted_) exact_[Root(tensor)] = true;
    std::vector<int64_t> settled(parent_.size(), 1);
    for (size_t i = 0; i < parent_.size(); ++i) {
      int64_t& granule = settled[Root(static_cast<int32_t>(i))];
      granule = std::lcm(granule, granule_[i]);
    }
    granule_ = settled;
    for (size_t i = 0; i < parent_.size(); ++i) {
      int64_t& chunks = chunks_[Root(static_cast<int32_t>(i))];
      chunks = std::max(chunks, chunks_[i]);
    }
    for (Heads& h : heads_) h.tensor = Root(h.tensor);
  }

 private:
  struct Heads {
    int32_t tensor;
    int32_t heads;
    int32_t kv_heads;
    int64_t head_dim;
    bool kv;
  };

  // What each rank's own keys give, one rank's behind the other's: at most top_k of a head's side.
  struct Candidates {
    int32_t tensor;
    int64_t lists;  // heads, sides, and numbers of a candidate
    int64_t top_k;
    int64_t key_count;
  };

  static Parts CandidateParts(const Candidates& c, int32_t ranks) {
    Parts parts = CutFinely(c.key_count, ranks, kKeyGranule);
    int64_t begin = 0;
    for (Part& part : parts) {
      part = {begin, begin + c.lists * std::min(c.top_k, part.size())};
      begin = part.end;
    }
    return parts;
  }

  void Join(int32_t a, int32_t b) {
    if (a >= 0 && b >= 0) parent_[Root(a)] = Root(b);
  }

  void Add(const Operator& op) {
    switch (op.kind) {
      case v1::RMS_NORM:
      case v1::LAYER_NORM:
        if (op.attributes.norm().width() < graph_.tensors[op.inputs[0]].cols) {
          granule_[op.inputs[0]] = std::lcm(granule_[op.inputs[0]], op.attributes.norm().width());
        }
        Join(op.inputs[0], op.outputs[0]);
        break;
      case v1::ROPE:
        granule_[op.inputs[0]] = std::lcm(granule_[op.inputs[0]], op.attributes.rope().head_dim());
        Join(op.inputs[0], op.outputs[0]);
        break;
      case v1::CLAMP:
      case v1::SELECT_ROWS:
      case v1::ROW_GATE:
        Join(op.inputs[0], op.outputs[0]);
        break;
      case v1::ACTIVATION:
      case v1::ADDITION:
        Join(op.inputs[1], op.inputs[0]);
        Join(op.inputs[0], op.outputs[0]);
        break;
      case v1::KV_APPEND:
        Join(op.inputs[0], op.inputs[1]);
        break;
      case v1::ATTENTION:
        AddAttention(op);
        break;
      case v1::VALUE_GATHER:
        for (int i : {0, 1, 2}) counted_.push_back(op.inputs[i]);
        granule_[op.inputs[2]] = op.attributes.gather().cores();
        chunks_[op.outputs[0]] = op.attributes.gather().expand_groups();
        break;
      case v1::PRODUCT_KEY_CANDIDATES: {
        const v1::Attributes::Candidates& a = op.attributes.candidates();
        const int64_t lists = int64_t{a.heads()} * 2;
        candidates_.push_back({op.outputs[0], lists, a.top_k(), a.key_count()});
        candidates_.push_back({op.outputs[1], lists * a.rank(), a.top_k(), a.key_count()});
        break;
      }
      case v1::EMBEDDING:
        // A tied head reads the table's columns where the embedding writes them.
        for (const Operator& head : graph_.operators) {
          if (head.kind == v1::LINEAR &&
              graph_.weights[head.weights[0]].shared_with == op.weights[0]) {
            Join(head.inputs[0], op.outputs[0]);
          }
        }
        break;
      default:
        break;
    }
  }

  void AddAttention(const Operator& op) {
    const v1::Attributes::Attention& a = op.attributes.attention();
    Join(op.inputs[0], op.outputs[0]);
    heads_.push_back({op.inputs[0], a.heads(), a.kv_heads(), a.head_dim(), false});
    for (const Operator& append : graph_.operators) {
      if (append.kind == v1::KV_APPEND && append.attributes.kv_append().layer() == a.layer()) {
        heads_.push_back({append.inputs[0], a.heads(), a.kv_heads(), a.head_dim(), true});
      }
    }
  }

  const Graph& graph_;
  std::vector<int32_t> parent_;
  std::vector<int64_t> granule_;  // columns
  std::vector<int64_t> chunks_;   // 0: it has none
  std::vector<Heads> heads_;
  std::vector<Candidates> candidates_;
  std::vector<int32_t> counted_;  // tensors of selections: any number of them may be together
  std::vector<bool> exact_;       // by root: the granule is meant, also when it is one column
};

}  // namespace

Parts CutEvenly(int64_t cols, int64_t width, int32_t ranks) {
  const int64_t granules = (cols + width - 1) / width;
  if (granules < ranks) return {};
  Parts parts;
  int64_t begin = 0;
  for (int32_t r = 0; r < ranks; ++r) {
    const int64_t count = granules / ranks + (r < granules % ranks ? 1 : 0);
    parts.push_back({begin * width, std::min(cols, (begin + count) * width)});
    begin += count;
  }
  return parts;
}

Parts CutFinely(int64_t cols, int32_t ranks, int64_t most) {
  if (cols < ranks) return {};
  const int64_t even = (cols + ranks - 1) / ranks;
  int64_t width = most;
  const auto suits = [&] {
    return (cols + width - 1) / width >= ranks &&
           (even + width - 1) / width * width * kEvenOf <= even * (kEvenOf + 1);
  };
  while (!suits()) width /= 2;
  return CutEvenly(cols, width, ranks);
}

Parts CutColumns(int64_t cols, int32_t ranks) {
  Parts parts = CutEvenly(cols, kTile, ranks);
  return parts.empty() ? CutEvenly(cols, kVector, ranks) : parts;
}

HeadParts CutHeads(int32_t heads, int32_t kv_heads, int32_t ranks) {
  const int32_t group = heads / kv_heads;
  HeadParts cut;
  if (kv_heads >= ranks) {
    cut.kv_heads = CutEvenly(kv_heads, 1, ranks);
    for (const Part& part : cut.kv_heads) {
      cut.heads.push_back({part.begin * group, part.end * group});
    }
    return cut;
  }
  // Rank r reads key-value head r · kv_heads / ranks.
  for (int32_t kv = 0, rank = 0; kv < kv_heads; ++kv) {
    int32_t sharing = 0;
    while (rank + sharing < ranks && (rank + sharing) * kv_heads / ranks == kv) ++sharing;
    const Parts shares = CutEvenly(group, 1, sharing);
    if (shares.empty()) return {};
    for (const Part& share : shares) {
      cut.heads.push_back({kv * group + share.begin, kv * group + share.end});
      cut.kv_heads.push_back({kv, kv + 1});
    }
    rank += sharing;
  }
  return cut;
}

Partition::Partition(const Graph& graph, int32_t ranks)
    : ranks_(ranks),
      group_(graph.tensors.size()),
      parts_(graph.tensors.size()),
      chunks_(graph.tensors.size(), 1) {
  Groups groups(graph);
  groups.Settle();
  for (size_t i = 0; i < graph.tensors.size(); ++i) {
    const int32_t tensor = static_cast<int32_t>(i);
    group_[i] = groups.Root(tensor);
    if (group_[i] != tensor) continue;
    parts_[i] = groups.PartsOf(tensor, ranks);
    chunks_[i] = groups.Chunks(tensor);
  }
  weights_ = CutWeights(graph, *this);
}

}  // namespace mneme::plan
