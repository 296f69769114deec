// Clusters on paper. Every figure is a vendor's published one:
//
//   a100  "NVIDIA A100 Tensor Core GPU" datasheet, 80GB SXM: HBM2e 80 GB, 2,039 GB/s; bf16 312
//         TFLOP/s dense, FP32 19.5; NVLink 600 GB/s. "NVIDIA DGX A100" datasheet: one 200 Gb/s
//         adapter a GPU.
//   h100  "NVIDIA H100 Tensor Core GPU" datasheet, SXM: HBM3 80 GB, 3.35 TB/s; bf16 1,979 TFLOP/s
//         with sparsity, half of it dense, FP32 67; NVLink 900 GB/s. "NVIDIA DGX H100" datasheet:
//         one 400 Gb/s adapter a GPU.
//   h200  "NVIDIA H200 Tensor Core GPU" datasheet, SXM: HBM3e 141 GB, 4.8 TB/s; arithmetic and
//   links
//         as the H100's.
//   b200  "NVIDIA DGX B200" datasheet, eight GPUs: HBM3e 1,440 GB, 64 TB/s; NVLink 14.4 TB/s; one
//         400 Gb/s adapter a GPU. "NVIDIA HGX Platform" page, HGX B200: bf16 36 PFLOP/s with
//         sparsity (2.25 dense a GPU), FP32 600 TFLOP/s. What drivers report of its memory (7,680
//         bits at 3,996 MHz) is 7.67 TB/s.
//
// Gigabytes of memory are taken as 10^9 bytes: devices report more.
//
// NVLink figures count both directions; a link here is one. float32 arithmetic is that of FP32:
// weights in float32 are not rounded for tensor cores.
//
// Latencies of exchanges are those that NCCL itself assumes (src/graph/tuning.cc, ring, LL): 6.6 us
// a collective and 0.6 us a step over NVLink, 2.7 us a step over the network; an all-reduce over n
// ranks takes 2 (n - 1) steps.
#include <algorithm>
#include <charconv>

#include "absl/strings/str_cat.h"
#include "engine/plan/cluster.h"
#include "engine/plan/cost_model.h"

namespace mneme::plan {
namespace {

constexpr int32_t kNode = 8;
constexpr double kGiga = 1e9;
constexpr double kTera = 1e12;

struct Gpu {
  const char* name;
  int64_t bytes;
  double bytes_per_second;
  double bf16_flops;
  double f32_flops;
  double nvlink;   // bytes per second, one direction
  double network;  // of its adapter
};

constexpr Gpu kGpus[] = {
    {"a100", 80'000'000'000, 2039 * kGiga, 312 * kTera, 19.5 * kTera, 300 * kGiga, 25 * kGiga},
    {"h100", 80'000'000'000, 3350 * kGiga, 989 * kTera, 67 * kTera, 450 * kGiga, 50 * kGiga},
    {"h200", 141'000'000'000, 4800 * kGiga, 989 * kTera, 67 * kTera, 450 * kGiga, 50 * kGiga},
    {"b200", 180'000'000'000, 8000 * kGiga, 2250 * kTera, 75 * kTera, 900 * kGiga, 50 * kGiga},
};

Cluster OfGpus(const Gpu& gpu, int32_t ranks) {
  Cluster c;
  c.device = "cuda";
  const Link nvlink{gpu.nvlink, 6.6e-6, 1.2e-6};
  if (ranks > kNode) c.axes.push_back({"nodes", ranks / kNode, {gpu.network, 6.6e-6, 5.4e-6}});
  c.axes.push_back({"devices", std::min(ranks, kNode), nvlink});
  c.memory.push_back({"hbm", gpu.bytes, gpu.bytes_per_second, 0});
  c.arithmetic.push_back({1, gpu.bf16_flops, gpu.f32_flops});
  return c;
}

// What a cost model assumes when nobody measured: of each rank, whatever the number.
Cluster OfCores(int32_t ranks) {
  const CostModel guess;
  Cluster c;
  c.device = "cpu";
  c.shared_memory = true;
  c.axes.push_back(
      {"cores",
       ranks,
       {guess.bytes_per_second, guess.exchange_seconds, guess.exchange_seconds_per_rank}});
  c.memory.push_back({"dram", 0, guess.bytes_per_second, guess.row_seconds});
  c.arithmetic = guess.arithmetic;
  return c;
}

}  // namespace

absl::StatusOr<Cluster> NamedCluster(const std::string& name) {
  const auto not_found = [&] {
    return absl::NotFoundError(absl::StrCat(
        "there is no cluster '", name, "'; there are Nxcpu, Nxa100, Nxh100, Nxh200 and Nxb200"));
  };
  int32_t ranks = 0;
  const char* end = name.data() + name.size();
  const auto [next, error] = std::from_chars(name.data(), end, ranks);
  if (error != std::errc() || next == end || *next != 'x') return not_found();
  const std::string kind(next + 1, end);
  const Gpu* gpu = std::find_if(std::begin(kGpus), std::end(kGpus),
                                [&](const Gpu& g) { return kind == g.name; });
  if (kind != "cpu" && gpu == std::end(kGpus)) return not_found();
  if (ranks < 1 || ranks > kMaxRanks) {
    return absl::InvalidArgumentError(
        absl::StrCat("a cluster has 1 to ", kMaxRanks, " ranks, '", name, "' has ", ranks));
  }
  if (kind != "cpu" && ranks > kNode && ranks % kNode != 0) {
    return absl::InvalidArgumentError(absl::StrCat("beyond one node a cluster has a multiple of ",
                                                   kNode, " GPUs, '", name, "' has ", ranks));
  }
  Cluster cluster = kind == "cpu" ? OfCores(ranks) : OfGpus(*gpu, ranks);
  cluster.name = name;
  return cluster;
}

}  // namespace mneme::plan
