#include "kernels/device/host_memory.h"

#include <filesystem>
#include <fstream>

#include "gtest/gtest.h"

namespace mneme::kernels {
namespace {

class HostMemoryTest : public ::testing::Test {
 protected:
  void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }

  const std::string root_ =
      ::testing::TempDir() + ::testing::UnitTest::GetInstance()->current_test_info()->name() + "/";
};

TEST_F(HostMemoryTest, IsUnknownWithoutFiles) { EXPECT_EQ(AvailableHostMemory(root_), 0); }

TEST_F(HostMemoryTest, IsWhatTheSystemHas) {
  Write("proc/meminfo", "MemTotal:  9000 kB\nMemFree:  20 kB\nMemAvailable:    1000 kB\nX: 7\n");
  EXPECT_EQ(AvailableHostMemory(root_), 1'024'000);
  Write("proc/self/cgroup", "1:cpu:/old\n0::/\n");
  EXPECT_EQ(AvailableHostMemory(root_), 1'024'000);
}

TEST_F(HostMemoryTest, IsLessWhereAnyGroupAllowsLess) {
  Write("proc/meminfo", "MemAvailable: 1000000 kB\n");
  Write("proc/self/cgroup", "0::/outer/inner\n");
  Write("sys/fs/cgroup/outer/inner/memory.max", "max\n");
  Write("sys/fs/cgroup/outer/inner/memory.current", "10\n");
  Write("sys/fs/cgroup/outer/memory.max", "5000\n");
  Write("sys/fs/cgroup/outer/memory.current", "2000\n");
  EXPECT_EQ(AvailableHostMemory(root_), 3000);
  Write("sys/fs/cgroup/outer/memory.stat", "anon 1200\ninactive_file 300\nactive_file 500\n");
  EXPECT_EQ(AvailableHostMemory(root_), 3800);
  // An exhausted group has one byte, for 0 means unknown.
  Write("sys/fs/cgroup/outer/inner/memory.max", "9\n");
  EXPECT_EQ(AvailableHostMemory(root_), 1);
}

TEST(ThisMachineTest, HasMemory) { EXPECT_GT(AvailableHostMemory(), 0); }

}  // namespace
}  // namespace mneme::kernels
