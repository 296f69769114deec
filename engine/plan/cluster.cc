#include "engine/plan/cluster.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mneme::plan {
namespace {

// Large enough for any machine, small enough that no sum of costs overflows.
constexpr double kMostPerSecond = 1e21;
constexpr double kMostSeconds = 1e3;
constexpr int64_t kMostFileBytes = 1 << 20;

// Collects the first thing that makes no sense.
class Checker {
 public:
  std::string Check(const Cluster& c) {
    if (c.device != "cpu" && c.device != "cuda") {
      return absl::StrCat("device is '", c.device, "', must be cpu or cuda");
    }
    Count("axes", static_cast<int64_t>(c.axes.size()), 1, 2);
    for (size_t i = 0; i < c.axes.size(); ++i) CheckAxis(absl::StrCat("axes[", i, "]."), c.axes[i]);
    if (error_.empty()) Count("axes' ranks in all", c.ranks(), 1, kMaxRanks);
    Count("memory", static_cast<int64_t>(c.memory.size()), 1, 8);
    for (size_t i = 0; i < c.memory.size(); ++i) {
      CheckTier(absl::StrCat("memory[", i, "]."), c.memory[i]);
    }
    CheckArithmetic("arithmetic", c.arithmetic);
    Count("contended", static_cast<int64_t>(c.contended.size()), 0, kMaxRanks);
    for (size_t i = 0; i < c.contended.size() && error_.empty(); ++i) {
      const Speed& speed = c.contended[i];
      const std::string path = absl::StrCat("contended[", i, "].");
      Count(path + "ranks", speed.ranks, i == 0 ? 1 : c.contended[i - 1].ranks + 1, kMaxRanks);
      Positive(path + "bytes_per_second", speed.bytes_per_second, kMostPerSecond);
      NotNegative(path + "row_seconds", speed.row_seconds);
      CheckArithmetic(path + "arithmetic", speed.arithmetic);
    }
    return error_;
  }

 private:
  void Count(const std::string& path, int64_t value, int64_t least, int64_t most) {
    if (!error_.empty() || (value >= least && value <= most)) return;
    error_ = absl::StrCat(path, ": ", value, " is not in [", least, ", ", most, "]");
  }
  void Positive(const std::string& path, double value, double most) {
    if (!error_.empty() || (value > 0 && value <= most)) return;
    error_ = absl::StrCat(path, ": ", value, " is not in (0, ", most, "]");
  }
  void NotNegative(const std::string& path, double seconds) {
    if (!error_.empty() || (seconds >= 0 && seconds <= kMostSeconds)) return;
    error_ = absl::StrCat(path, ": ", seconds, " is not in [0, ", kMostSeconds, "]");
  }
  void CheckAxis(const std::string& path, const Axis& axis) {
    Count(path + "ranks", axis.ranks, 1, kMaxRanks);
    Positive(path + "bytes_per_second", axis.link.bytes_per_second, kMostPerSecond);
    NotNegative(path + "seconds", axis.link.seconds);
    NotNegative(path + "seconds_per_rank", axis.link.seconds_per_rank);
  }
  void CheckTier(const std::string& path, const MemoryTier& tier) {
    Count(path + "bytes", tier.bytes, 0, int64_t{1} << 60);
    Positive(path + "bytes_per_second", tier.bytes_per_second, kMostPerSecond);
    NotNegative(path + "row_seconds", tier.row_seconds);
  }
  void CheckArithmetic(const std::string& path, const std::vector<Arithmetic>& entries) {
    Count(path, static_cast<int64_t>(entries.size()), 1, 64);
    for (size_t i = 0; i < entries.size(); ++i) {
      const std::string at = absl::StrCat(path, "[", i, "].");
      Count(at + "rows", entries[i].rows, i == 0 ? 1 : entries[i - 1].rows + 1, int64_t{1} << 40);
      Positive(at + "bf16_flops", entries[i].bf16_flops, kMostPerSecond);
      Positive(at + "f32_flops", entries[i].f32_flops, kMostPerSecond);
    }
  }

  std::string error_;
};

}  // namespace

int32_t Cluster::ranks() const {
  int32_t ranks = 1;
  for (const Axis& axis : axes) ranks *= axis.ranks;
  return ranks;
}

Speed SpeedOf(const Cluster& cluster) {
  const int32_t ranks = cluster.ranks();
  Speed speed{ranks, cluster.memory[0].bytes_per_second, cluster.memory[0].row_seconds,
              cluster.arithmetic};
  const Speed* nearest = nullptr;
  for (const Speed& s : cluster.contended) {
    if (s.ranks <= ranks) nearest = &s;
  }
  if (nearest == nullptr) return speed;
  speed = *nearest;
  if (nearest == &cluster.contended.back() && ranks > nearest->ranks) {
    // No core is left for them.
    const double part = static_cast<double>(nearest->ranks) / ranks;
    speed.bytes_per_second *= part;
    speed.row_seconds /= part;
    for (Arithmetic& a : speed.arithmetic) {
      a.bf16_flops *= part;
      a.f32_flops *= part;
    }
  }
  speed.ranks = ranks;
  return speed;
}

absl::StatusOr<Cluster> WithRanks(Cluster cluster, int32_t ranks) {
  if (ranks == cluster.ranks()) return cluster;
  if (cluster.axes.size() != 1 || ranks < 1 || ranks > kMaxRanks) {
    return absl::InvalidArgumentError(
        absl::StrCat("ranks is ", ranks, ", the cluster ", cluster.name, " has ", cluster.ranks()));
  }
  cluster.axes[0].ranks = ranks;
  return cluster;
}

std::string CheckCluster(const Cluster& cluster) { return Checker().Check(cluster); }

absl::StatusOr<Cluster> LoadCluster(const std::string& name_or_path) {
  absl::StatusOr<Cluster> named = NamedCluster(name_or_path);
  if (!absl::IsNotFound(named.status())) return named;
  std::ifstream file(name_or_path, std::ios::binary);
  if (!file) {
    return absl::NotFoundError(
        absl::StrCat(std::string(named.status().message()), ", and there is no file of that name"));
  }
  std::string text(kMostFileBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  if (static_cast<int64_t>(text.size()) > kMostFileBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(name_or_path, ": a cluster takes at most ", kMostFileBytes, " bytes"));
  }
  return ParseCluster(text, name_or_path);
}

}  // namespace mneme::plan
