// A cluster's ranks as a grid of two axes, the outer (nodes) and the inner (devices of a node, or
// the ranks of a cluster that has no nodes). A tensor has one layout per axis: with S(1) on both it
// is cut into as many parts as there are ranks, with S(1) on one and P on the other each part has
// as many addends as the other axis has ranks. Signatures of operators hold axis by axis.
#ifndef MNEME_ENGINE_PLAN_GRID_H_
#define MNEME_ENGINE_PLAN_GRID_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/graph/graph.h"
#include "engine/graph/sbp.h"
#include "engine/plan/cluster.h"
#include "engine/plan/partition.h"
#include "engine/plan/runnable_signatures.h"

namespace mneme::plan {

inline constexpr int kOuter = 0;
inline constexpr int kInner = 1;

struct Grid {
  std::array<int32_t, 2> ranks = {1, 1};

  static Grid Of(const Cluster& cluster) {
    return {{cluster.axes.size() > 1 ? cluster.axes[0].ranks : 1, cluster.axes.back().ranks}};
  }
  int32_t total() const { return ranks[kOuter] * ranks[kInner]; }
};

// By axis. On an axis of one rank everything is B.
using GridSignature = std::array<graph::Signature, 2>;
using GridOptions = std::vector<std::vector<GridSignature>>;  // by operator

// How tensors are cut over either axis and over both.
class GridPartition {
 public:
  // REQUIRES: a valid graph. It is not kept.
  GridPartition(const graph::Graph& graph, Grid grid);

  const Grid& grid() const { return grid_; }
  const Partition& over(bool outer, bool inner) const {
    return parts_[outer && inner ? 2 : outer ? kOuter : kInner];
  }
  bool Splits(int32_t tensor, bool outer, bool inner) const {
    return (!outer && !inner) || !over(outer, inner).Of(tensor).empty();
  }
  // The part of a tensor's columns that the fullest rank has.
  double Share(const graph::Graph& graph, int32_t tensor, bool outer, bool inner) const;

 private:
  Grid grid_;
  std::array<Partition, 3> parts_;  // over the outer axis, the inner one, both
};

// Every pair of one outer and one inner option, but those whose splits of a tensor or a weight over
// both axes the partition does not allow.
GridOptions Combine(const graph::Graph& graph, const GridPartition& partition,
                    const SignatureOptions& outer, const SignatureOptions& inner);

// "(B, S(0)) -> S(1)"; on two axes "(BB, S(0)B) -> ..." letter by letter: outer, inner.
std::string GridSignatureName(const graph::Operator& op, const Grid& grid,
                              const GridSignature& signature);

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_GRID_H_
