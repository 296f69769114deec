// How the columns of a graph's tensors, and its weights, are cut where they are split over ranks.
// Every cut falls on a granule: a head, a normed chunk, a selection, a SIMD tile. Tensors that
// operators walk side by side (a query and its rotation, an up and its gate) are cut alike.
#ifndef MNEME_ENGINE_PLAN_PARTITION_H_
#define MNEME_ENGINE_PLAN_PARTITION_H_

#include <cstdint>
#include <vector>

#include "engine/graph/graph.h"

namespace mneme::plan {

// Columns [begin, end) of one rank.
struct Part {
  int64_t begin = 0;
  int64_t end = 0;

  int64_t size() const { return end - begin; }
  bool operator==(const Part&) const = default;
};
using Parts = std::vector<Part>;  // by rank

// `granules` of `width` columns (the last one may be narrower: `cols` in all), as evenly as they
// go, the first ranks having one more. Empty where ranks are more than granules.
Parts CutEvenly(int64_t cols, int64_t width, int32_t ranks);

// In the largest granules of `most`, half of it, ... 1 columns with which the fullest rank has at
// most 1/16 more than its even share. Empty where ranks are more than columns. REQUIRES: `most` is
// a power of two.
inline constexpr int64_t kColumnGranule = 64;  // whole cache lines of weights
inline constexpr int64_t kKeyGranule = 16;     // the candidates kernel's tile
Parts CutFinely(int64_t cols, int32_t ranks, int64_t most = kColumnGranule);
// Columns that nothing groups: granules of a cache line of bf16 weights, or, where those do not
// suffice, of a vector.
Parts CutColumns(int64_t cols, int32_t ranks);

// Query heads and the key-value heads that they read, in heads. Whole groups where there are as
// many key-value heads as ranks; else several ranks share a key-value head, which each of them
// keeps. Empty where some rank would have no query head.
struct HeadParts {
  Parts heads;
  Parts kv_heads;
};
HeadParts CutHeads(int32_t heads, int32_t kv_heads, int32_t ranks);

// How a weight can be split, whoever reads it. A linear operator's weights are cut as the tensors
// that it reads and writes, and not here.
struct WeightParts {
  // Rows: an embedding's; the keys of each head and side, of which there are row_chunks.
  Parts rows;
  int64_t row_chunks = 1;
  // Rows of a value table: dealt out in blocks of so many, a power of two; 0: not.
  int64_t row_block = 0;
  // Columns: an embedding's; a value table's values, and its pre-values (empty if it has none).
  Parts cols;
  Parts pre_cols;
};

class Partition {
 public:
  // REQUIRES: a valid graph, ranks >= 1. The graph is not kept.
  Partition(const graph::Graph& graph, int32_t ranks);

  int32_t ranks() const { return ranks_; }
  // The parts of a tensor's columns, or of each of its chunks; empty where it cannot be split.
  const Parts& Of(int32_t tensor) const { return parts_[group_[tensor]]; }
  // A tensor may be several equal chunks of columns (the groups of a gather), each cut alike. Who
  // has parts of such a tensor has them for good: they are not one run of columns of the whole.
  int64_t Chunks(int32_t tensor) const { return chunks_[group_[tensor]]; }
  const WeightParts& OfWeight(int32_t weight) const { return weights_[weight]; }

 private:
  int32_t ranks_;
  std::vector<int32_t> group_;  // of each tensor
  std::vector<Parts> parts_;    // of each group
  std::vector<int64_t> chunks_;
  std::vector<WeightParts> weights_;
};

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_PARTITION_H_
