// Any bytes are either refused with a message or give a cluster that makes sense and that is the
// same after it was written and read again.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/plan/cluster.h"
#include "engine/plan/cost_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using mneme::plan::ClusterJson;
  using mneme::plan::ParseCluster;
  const auto cluster = ParseCluster({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!cluster.ok()) {
    if (cluster.status().message().empty() || cluster.status().message().size() > 512) {
      __builtin_trap();
    }
    return 0;
  }
  const std::string json = ClusterJson(*cluster);
  const auto again = ParseCluster(json, "again");
  if (!again.ok() || ClusterJson(*again) != json) __builtin_trap();
  const mneme::plan::CostModel cost = mneme::plan::CostOf(*cluster);
  if (!(cost.bytes_per_second > 0) || !(ArithmeticSeconds(cost, true, 3, 1) > 0)) __builtin_trap();
  return 0;
}
