// Linear at decode and prefill shapes: median time of one call on one thread, with the share of the
// limit that binds it, measured in the same run. One token: bytes of weights per second against the
// reading speed of a buffer of the same size. Batches: multiply-adds per second against the
// registers' peak. Cold rows walk through several matrices, so that each call reads memory.
#include <algorithm>
#include <cstdio>

#include "kernels/device/buffer.h"
#include "kernels/linear/linear.h"
#include "kernels/simd/machine_limits.h"

namespace mneme::kernels {
namespace {

struct Case {
  int64_t in;
  int64_t out;
  bool cold;
};

constexpr int64_t kColdBytes = int64_t{3} << 29;

void RunCase(const Case& c, Isa isa, DType dtype, double peak, const Buffer& memory) {
  const int64_t weight_bytes = c.in * c.out * DTypeBytes(dtype);
  const int64_t copies = c.cold ? std::max<int64_t>(1, kColdBytes / weight_bytes) : 1;
  const double bandwidth = MeasureReadBandwidth(c.cold ? kColdBytes : weight_bytes, isa);
  for (int64_t tokens : {1, 2, 4, 16, 64, 256}) {
    // Cache-line aligned, as the runtime's arena gives them.
    const absl::StatusOr<Buffer> x = Buffer::Allocate(tokens * c.in * 4, Pages::kNormal);
    const absl::StatusOr<Buffer> y = Buffer::Allocate(tokens * c.out * 4, Pages::kNormal);
    if (!x.ok() || !y.ok()) return;
    float* x_data = reinterpret_cast<float*>(x->data());
    std::fill(x_data, x_data + tokens * c.in, 0.5f);
    LinearArgs args;
    args.x = MakeMatrix<const float>(x_data, tokens, c.in);
    args.y = MakeMatrix(reinterpret_cast<float*>(y->data()), tokens, c.out);
    args.w = {memory.data(), dtype, c.out, c.in, c.in};
    const LinearFn linear = ResolveLinear(dtype, isa);
    int64_t copy = 0;
    const Timing timing = TimeCalls(0.3, [&] {
      args.w.data = memory.data() + (copy = (copy + 1) % copies) * weight_bytes;
      linear(args);
    });
    const double read = static_cast<double>(weight_bytes) / timing.median_s;
    const double flops = 2.0 * static_cast<double>(tokens * c.in * c.out) / timing.median_s;
    std::printf(
        "%-8s %-4s %6ld -> %6ld %-4s tokens %4ld  %10.2f us p99 %10.2f  %6.1f GB/s %3.0f %%"
        "  %6.1f GFLOP/s %3.0f %%\n",
        IsaName(isa), DTypeName(dtype), static_cast<long>(c.in), static_cast<long>(c.out),
        c.cold ? "cold" : "warm", static_cast<long>(tokens), timing.median_s * 1e6,
        timing.p99_s * 1e6, read / 1e9, 100 * read / bandwidth, flops / 1e9, 100 * flops / peak);
  }
}

int Main(int argc, char** argv) {
  const Isa isa = argc > 1 ? ParseIsa(argv[1]).value_or(DetectIsa()) : DetectIsa();
  if (isa > DetectIsa()) {
    std::fprintf(stderr, "this machine has no %s\n", IsaName(isa));
    return 1;
  }
  absl::StatusOr<Buffer> memory = Buffer::Allocate(kColdBytes + (int64_t{1} << 20), Pages::kHuge);
  if (!memory.ok()) {
    std::fprintf(stderr, "%s\n", memory.status().ToString().c_str());
    return 1;
  }
  std::fill(memory->data(), memory->data() + memory->size(), uint8_t{0x3c});
  const double peak = MeasureMulAddPeak(isa);
  std::printf("%s: %.1f GFLOP/s peak\n", IsaName(isa), peak / 1e9);
  for (const Case& c : {Case{256, 1024, false}, Case{512, 256, false}, Case{256, 4096, false},
                        Case{2048, 2048, true}, Case{2048, 11264, true}, Case{5632, 2048, true}}) {
    for (DType dtype : {DType::kBf16, DType::kF32}) RunCase(c, isa, dtype, peak, *memory);
  }
  return 0;
}

}  // namespace
}  // namespace mneme::kernels

int main(int argc, char** argv) { return mneme::kernels::Main(argc, argv); }
