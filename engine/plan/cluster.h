// What a plan assumes of the machines it is made for: a grid of ranks, the links of each of its
// axes, and of one rank memory and arithmetic. Built-in clusters on paper, files for all others;
// `mneme calibrate` measures this machine into such a file.
#ifndef MNEME_ENGINE_PLAN_CLUSTER_H_
#define MNEME_ENGINE_PLAN_CLUSTER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace mneme::plan {

inline constexpr int32_t kMaxRanks = 64;

// What ranks that differ in one coordinate of the grid exchange tensors over. An exchange of n
// ranks takes seconds + seconds_per_rank · (n - 1), and beside it the bytes that each rank sends,
// of an all-reduce of b bytes 2 · b · (n - 1) / n.
struct Link {
  double bytes_per_second = 0;  // that one rank sends while it receives as many
  double seconds = 0;
  double seconds_per_rank = 0;
};

// An axis of the grid, e.g. the nodes or the devices of each node.
struct Axis {
  std::string name;
  int32_t ranks = 1;
  Link link;
};

// A memory of one rank; what several ranks share counts for each of them (Cluster::shared_memory).
struct MemoryTier {
  std::string kind;             // "hbm", "dram", "nvme"
  int64_t bytes = 0;            // 0: not known, and no limit
  double bytes_per_second = 0;  // in address order
  // What a row of a table takes beyond its bytes, with as many on their way as the gather has.
  double row_seconds = 0;
};

// Multiply-adds of a linear layer of so many rows whose weights come from memory, two operations
// each, per second. Between two numbers of rows the time of a layer is a straight line.
struct Arithmetic {
  int64_t rows = 1;
  double bf16_flops = 0;  // of weights in bf16
  double f32_flops = 0;
};

// What one rank does while `ranks` of them work.
struct Speed {
  int32_t ranks = 1;
  double bytes_per_second = 0;
  double row_seconds = 0;
  std::vector<Arithmetic> arithmetic;  // ascending in rows; the last one holds for more rows
};

struct Cluster {
  std::string name;    // "64xh100"
  std::string device;  // "cpu", "cuda"
  // One or two, the outer first.
  std::vector<Axis> axes;
  // All ranks are of one process or host: weights that are not split exist once.
  bool shared_memory = false;
  // Of one rank, the fastest first; only the first is used yet.
  std::vector<MemoryTier> memory;
  // Of a rank for which `contended` says nothing else; ascending in rows.
  std::vector<Arithmetic> arithmetic;
  // Where ranks slow each other down: ascending in ranks. Empty where each has a memory of its own.
  std::vector<Speed> contended;

  int32_t ranks() const;
};

// What one rank does while all ranks of the cluster work: the entry of `contended` for as many
// ranks or, if there is none, for the next smaller number. More ranks than the largest entry has
// divide what it measured.
Speed SpeedOf(const Cluster& cluster);

// The same machines, of which `ranks` ranks are used: a cluster of one axis may have any number of
// them, another one only as many as it has. INVALID_ARGUMENT names both numbers.
absl::StatusOr<Cluster> WithRanks(Cluster cluster, int32_t ranks);

// "NxKIND": N ranks on paper of a100, h100, h200 or b200 (up to 8 a node, beyond it multiples of
// 8), or of cpu (of one host, with what plan::CostModel assumes). NOT_FOUND names the kinds,
// INVALID_ARGUMENT the number that there cannot be.
absl::StatusOr<Cluster> NamedCluster(const std::string& name);

// Empty, or what makes no sense, by its path in the file ("axes[1].ranks is 0, must be in [1,
// 64]").
std::string CheckCluster(const Cluster& cluster);

// A cluster from JSON with the names of the fields above. Strict: INVALID_ARGUMENT names an unknown
// or repeated key, a wrong type, a missing or senseless value by its path. `source` names the text
// in messages.
absl::StatusOr<Cluster> ParseCluster(const std::string& json, const std::string& source);

// What ParseCluster reads: one object, indented by two. Numbers survive the way and back.
std::string ClusterJson(const Cluster& cluster);

// A built-in name, or else the file of that path. NOT_FOUND when it is neither.
absl::StatusOr<Cluster> LoadCluster(const std::string& name_or_path);

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_CLUSTER_H_
