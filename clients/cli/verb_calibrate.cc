#include <fstream>

#include "absl/strings/str_cat.h"
#include "clients/cli/flags.h"
#include "clients/cli/verbs.h"
#include "engine/calibrate.h"

namespace mneme::cli {

int RunCalibrate(const Invocation& invocation) {
  CalibrateOptions options{.isa = kernels::DetectIsa()};
  std::string out;
  int64_t megabytes = options.bytes >> 20;
  FlagTable flags("calibrate", "",
                  "Measures this machine for the planner, for 1, 2, 4, ... threads: how fast they "
                  "read in order and at random rows, how fast they compute, what it takes them to "
                  "meet and to exchange. Prints a cluster as JSON, for --cluster.");
  flags.Add("ranks", &options.ranks, {0, plan::kMaxRanks}, "N",
            "The most threads; 0: as many as there are cores.");
  flags.Add("megabytes", &megabytes, {8, 1 << 20}, "MB",
            "Weights that all threads read in a pass: more than the caches hold.");
  flags.Add("passes", &options.passes, {1, 1000}, "N", "Of which the median counts.");
  flags.Add("out", &out, "FILE", "Write there; without it: to standard output.");
  int exit_status = 0;
  if (!ParseFlags(invocation, &flags, 0, &exit_status)) return exit_status;
  options.bytes = megabytes << 20;
  const absl::StatusOr<plan::Cluster> cluster = Calibrate(options);
  if (!cluster.ok()) return Fail(invocation, "calibrate", cluster.status());
  if (out.empty()) {
    invocation.out << plan::ClusterJson(*cluster);
    return 0;
  }
  std::ofstream file(out);
  if (!(file << plan::ClusterJson(*cluster) << std::flush)) {
    return Fail(invocation, "calibrate",
                absl::UnavailableError(absl::StrCat("cannot write '", out, "'")));
  }
  return 0;
}

}  // namespace mneme::cli
