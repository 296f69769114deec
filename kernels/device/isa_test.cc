#include "kernels/device/isa.h"

#include <algorithm>
#include <fstream>
#include <initializer_list>
#include <string>

#include "gtest/gtest.h"

namespace mneme::kernels {
namespace {

TEST(IsaTest, NamesParseBack) {
  for (Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
    EXPECT_EQ(ParseIsa(IsaName(isa)), isa);
  }
  EXPECT_EQ(ParseIsa("avx"), std::nullopt);
  EXPECT_EQ(ParseIsa(""), std::nullopt);
}

// The kernel's own list of what the processor has, flag by flag.
TEST(IsaTest, DetectionAgreesWithTheSystem) {
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string line;
  while (std::getline(cpuinfo, line) && !line.starts_with("flags")) {
  }
  if (!cpuinfo) GTEST_SKIP() << "/proc/cpuinfo lists no flags here";
  line += " ";
  const auto all = [&](std::initializer_list<const char*> flags) {
    return std::all_of(flags.begin(), flags.end(), [&](const char* flag) {
      return line.find(std::string(" ") + flag + " ") != std::string::npos;
    });
  };
  const bool avx2 = all({"avx2", "fma", "bmi2"});
  const bool avx512 = avx2 && all({"avx512f", "avx512bw", "avx512dq", "avx512vl"});
  EXPECT_EQ(DetectIsa(), avx512 ? Isa::kAvx512 : avx2 ? Isa::kAvx2 : Isa::kPortable) << line;
}

}  // namespace
}  // namespace mneme::kernels
