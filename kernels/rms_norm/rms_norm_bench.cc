// RMSNorm of rows and of heads: median time of one call on one thread, and the bytes it reads per
// second against the reading speed of a buffer of that size, measured in the same run.
#include <algorithm>
#include <cstdio>
#include <vector>

#include "kernels/rms_norm/rms_norm.h"
#include "kernels/simd/machine_limits.h"

namespace mneme::kernels {
namespace {

struct Case {
  int64_t rows;
  int64_t cols;
  int64_t width;
};

void RunCase(const Case& c, Isa isa) {
  std::vector<float> x(static_cast<size_t>(c.rows * c.cols), 0.5f);
  std::vector<float> weight(static_cast<size_t>(c.width), 1.5f);
  std::vector<float> y(x.size());
  RmsNormArgs args;
  args.x = MakeMatrix<const float>(x.data(), c.rows, c.cols);
  args.width = c.width;
  args.weight = weight.data();
  args.eps = 1e-5f;
  args.y = MakeMatrix(y.data(), c.rows, c.cols);
  const RmsNormFn norm = ResolveRmsNorm(isa);
  const Timing timing = TimeCalls(0.2, [&] { norm(args); });
  const double bytes = static_cast<double>(x.size() * sizeof(float));
  const double bandwidth =
      MeasureReadBandwidth(std::max<int64_t>(4096, static_cast<int64_t>(bytes)), isa);
  std::printf("%-8s rows %5ld cols %6ld width %5ld  %9.3f us p99 %9.3f  %6.1f GB/s %3.0f %%\n",
              IsaName(isa), static_cast<long>(c.rows), static_cast<long>(c.cols),
              static_cast<long>(c.width), timing.median_s * 1e6, timing.p99_s * 1e6,
              bytes / timing.median_s / 1e9, 100 * bytes / timing.median_s / bandwidth);
}

int Main(int argc, char** argv) {
  const Isa isa = argc > 1 ? ParseIsa(argv[1]).value_or(DetectIsa()) : DetectIsa();
  if (isa > DetectIsa()) {
    std::fprintf(stderr, "this machine has no %s\n", IsaName(isa));
    return 1;
  }
  for (const Case& c :
       {Case{1, 256, 256}, Case{1, 2048, 2048}, Case{1, 2048, 128}, Case{1, 256, 32},
        Case{64, 256, 256}, Case{512, 2048, 2048}, Case{8192, 2048, 2048}}) {
    RunCase(c, isa);
  }
  return 0;
}

}  // namespace
}  // namespace mneme::kernels

int main(int argc, char** argv) { return mneme::kernels::Main(argc, argv); }
