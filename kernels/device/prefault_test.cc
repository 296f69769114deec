#include "kernels/device/prefault.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/device/buffer.h"

namespace mneme::kernels {
namespace {

// Small pages of the buffer that are in memory.
int64_t PresentPages(const Buffer& buffer) {
  std::vector<unsigned char> present(static_cast<size_t>((buffer.size() + 4095) / 4096));
  EXPECT_EQ(mincore(buffer.data(), static_cast<size_t>(buffer.size()), present.data()), 0);
  int64_t count = 0;
  for (unsigned char page : present) count += page & 1;
  return count;
}

TEST(PrefaultTest, GivesEveryPageAndChangesNothing) {
  Buffer a = std::move(Buffer::Allocate(9'000'000, Pages::kHuge)).value();
  Buffer b = std::move(Buffer::Allocate(5000, Pages::kNormal)).value();
  a.data()[7'000'000] = 42;
  EXPECT_LT(PresentPages(a), 9'000'000 / 4096);
  Prefault prefault({a.span(), b.span(), {}});
  a.data()[100] = 43;
  prefault.Wait();
  if (PresentPages(b) == 0) GTEST_SKIP() << "this system cannot populate memory";
  EXPECT_EQ(PresentPages(a), 9'000'000 / 4096 + 1);
  EXPECT_EQ(PresentPages(b), 2);
  EXPECT_EQ(a.data()[7'000'000], 42);
  EXPECT_EQ(a.data()[100], 43);
}

int64_t ResidentBytes() {
  int64_t size = 0;
  int64_t resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

TEST(PrefaultTest, EndsEarlyWhenItIsDestroyed) {
  Buffer buffer = std::move(Buffer::Allocate(int64_t{32} << 30, Pages::kNormal)).value();
  const int64_t before = ResidentBytes();
  { const Prefault prefault({buffer.span()}); }
  // Of 32 GiB, which take seconds, only what was done by then is there.
  EXPECT_LT(ResidentBytes() - before, int64_t{1} << 30);
}

}  // namespace
}  // namespace mneme::kernels
