// The experts of one layer at the sizes of OLMoE, cold: median time of one call on one thread,
// bytes of the active experts' weights per second, and the share of the speed at which one thread
// reads as many. Successive calls choose other experts of several layers, so that each reads
// memory.
#include <algorithm>
#include <cstdio>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "kernels/device/buffer.h"
#include "kernels/experts/experts.h"
#include "kernels/simd/machine_limits.h"

namespace mneme::kernels {
namespace {

constexpr int64_t kDim = 2048;
constexpr int64_t kHidden = 1024;
constexpr int32_t kExperts = 64;
constexpr int64_t kTopK = 8;
constexpr int kLayers = 2;
constexpr int kChoices = 16;  // of experts, each for all tokens of a call

std::vector<std::vector<ExpertWeights>> Layers(const uint8_t* data) {
  std::vector<std::vector<ExpertWeights>> layers(kLayers);
  for (auto& layer : layers) {
    for (int32_t e = 0; e < kExperts; ++e) {
      const auto next = [&](int64_t rows, int64_t cols) {
        const TensorView view{data, DType::kBf16, rows, cols, cols};
        data += view.bytes();
        return view;
      };
      layer.push_back(
          {.gate = next(kHidden, kDim), .up = next(kHidden, kDim), .down = next(kDim, kHidden)});
    }
  }
  return layers;
}

void RunCase(const std::vector<std::vector<ExpertWeights>>& layers, int64_t tokens, Isa isa) {
  std::mt19937 random(1);
  std::vector<int32_t> ids(kExperts);
  std::iota(ids.begin(), ids.end(), 0);
  std::vector<int32_t> experts;
  for (int64_t i = 0; i < kChoices * tokens; ++i) {
    std::shuffle(ids.begin(), ids.end(), random);
    std::sort(ids.begin(), ids.begin() + kTopK);
    experts.insert(experts.end(), ids.begin(), ids.begin() + kTopK);
  }
  const std::vector<float> x(static_cast<size_t>(tokens * kDim), 0.01f);
  const std::vector<float> weight(static_cast<size_t>(tokens * kTopK), 0.1f);
  std::vector<float> y(x.size());
  const int64_t scratch_bytes = ExpertsScratchBytes(
      {.tokens = tokens, .top_k = kTopK, .dim = kDim, .hidden = kHidden, .experts = kExperts});
  Buffer scratch = std::move(Buffer::Allocate(scratch_bytes, Pages::kNormal)).value();
  ExpertsArgs args;
  args.x = MakeMatrix(x.data(), tokens, kDim);
  args.weight = MakeMatrix(weight.data(), tokens, kTopK);
  args.y = MakeMatrix(y.data(), tokens, kDim);
  args.scratch = scratch.data();
  const ExpertsFn run = ResolveExperts(isa);
  int call = 0;
  double bytes = 0;
  int calls = 0;
  const Timing timing = TimeCalls(1.0, [&] {
    args.weights = layers[call % kLayers];
    args.expert = MakeMatrix<const int32_t>(
        experts.data() + call / kLayers % kChoices * tokens * kTopK, tokens, kTopK);
    bytes +=
        static_cast<double>(run(args).read_bytes[static_cast<int>(TrafficClass::kExpertWeights)]);
    ++call;
    ++calls;
  });
  const double mean_bytes = bytes / calls;
  const double limit = MeasureReadBandwidth(int64_t{1} << 30, isa);
  std::printf("%-8s tokens %4ld  %10.1f us p99 %10.1f  %7.1f MB  %6.1f GB/s = %3.0f %% of %.1f\n",
              IsaName(isa), static_cast<long>(tokens), timing.median_s * 1e6, timing.p99_s * 1e6,
              mean_bytes / 1e6, mean_bytes / timing.median_s / 1e9,
              100 * mean_bytes / timing.median_s / limit, limit / 1e9);
}

int Main(int argc, char** argv) {
  const Isa isa = argc > 1 ? ParseIsa(argv[1]).value_or(DetectIsa()) : DetectIsa();
  if (isa > DetectIsa()) {
    std::fprintf(stderr, "this machine has no %s\n", IsaName(isa));
    return 1;
  }
  const int64_t bytes = int64_t{kLayers} * kExperts * 3 * kDim * kHidden * 2;
  absl::StatusOr<Buffer> memory = Buffer::Allocate(bytes, Pages::kHuge);
  if (!memory.ok()) {
    std::fprintf(stderr, "%s\n", memory.status().ToString().c_str());
    return 1;
  }
  std::fill(memory->data(), memory->data() + memory->size(), uint8_t{0x3c});
  const std::vector<std::vector<ExpertWeights>> layers = Layers(memory->data());
  for (const int64_t tokens : {1, 2, 4, 8, 32, 128}) RunCase(layers, tokens, isa);
  return 0;
}

}  // namespace
}  // namespace mneme::kernels

int main(int argc, char** argv) { return mneme::kernels::Main(argc, argv); }
