#include "kernels/device/host_memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>

namespace mneme::kernels {
namespace {

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

// The number a file begins with; kUnlimited for "max" and for a file that is not there.
int64_t NumberIn(const std::string& path) {
  std::ifstream file(path);
  int64_t number = 0;
  return file >> number ? number : kUnlimited;
}

// The number after `name` at the beginning of a line; `otherwise` if there is none.
int64_t FieldOf(const std::string& path, const std::string& name, int64_t otherwise) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    std::string found;
    int64_t number = 0;
    if (fields >> found >> number && found == name) return number;
  }
  return otherwise;
}

int64_t SystemMemory(const std::string& root) {
  const int64_t kib = FieldOf(root + "proc/meminfo", "MemAvailable:", kUnlimited);
  return kib == kUnlimited ? kUnlimited : kib * 1024;
}

// What a group leaves; cached pages of files make room when asked.
int64_t LeftIn(const std::string& folder) {
  const int64_t limit = NumberIn(folder + "memory.max");
  const int64_t used = NumberIn(folder + "memory.current");
  if (limit == kUnlimited || used == kUnlimited) return kUnlimited;
  const int64_t cached = FieldOf(folder + "memory.stat", "inactive_file", 0) +
                         FieldOf(folder + "memory.stat", "active_file", 0);
  return std::max<int64_t>(limit - used + cached, 1);
}

// What the process's control group and those around it leave, from the inside out.
int64_t GroupMemory(const std::string& root) {
  std::ifstream file(root + "proc/self/cgroup");
  std::string line;
  while (std::getline(file, line)) {
    // Version 2 has the one line "0::PATH".
    if (!line.starts_with("0::/")) continue;
    const std::string groups = root + "sys/fs/cgroup";
    int64_t least = kUnlimited;
    for (std::string path = line.substr(3);;) {
      std::string group = groups;
      least = std::min(least, LeftIn(group.append(path).append("/")));
      if (path.size() <= 1) return least;
      path.resize(path.rfind('/'));
    }
  }
  return kUnlimited;
}

}  // namespace

int64_t AvailableHostMemory(const std::string& root) {
  const int64_t least = std::min(SystemMemory(root), GroupMemory(root));
  return least == kUnlimited ? 0 : least;
}

int64_t AvailableHostMemory() { return AvailableHostMemory("/"); }

}  // namespace mneme::kernels
