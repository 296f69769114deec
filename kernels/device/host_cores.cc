#include "kernels/device/host_cores.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <string>
#include <thread>

namespace mneme::kernels {

int32_t CoresOfQuota(std::string_view cpu_max) {
  int64_t quota = 0;
  int64_t period = 0;
  const char* end = cpu_max.data() + cpu_max.size();
  const auto first = std::from_chars(cpu_max.data(), end, quota);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != ' ') return 0;
  const auto second = std::from_chars(first.ptr + 1, end, period);
  if (second.ec != std::errc() || quota < 1 || period < 1) return 0;
  return static_cast<int32_t>(std::clamp<int64_t>(quota / period, 1, 1 << 20));
}

int32_t UsableCores() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  // The mask of a machine with more CPUs than cpu_set_t has bits cannot be asked for.
  int32_t cores = std::max(1, static_cast<int32_t>(std::thread::hardware_concurrency()));
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) cores = std::max(1, CPU_COUNT(&mask));
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string line;
  if (std::getline(file, line)) {
    if (const int32_t quota = CoresOfQuota(line); quota > 0) cores = std::min(cores, quota);
  }
  return cores;
}

}  // namespace mneme::kernels
