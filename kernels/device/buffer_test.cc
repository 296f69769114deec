#include "kernels/device/buffer.h"

#include <fstream>
#include <string>
#include <utility>

#include "gtest/gtest.h"

namespace mneme::kernels {
namespace {

TEST(BufferTest, IsZeroFilledAndAligned) {
  for (Pages pages : {Pages::kNormal, Pages::kHuge}) {
    absl::StatusOr<Buffer> buffer = Buffer::Allocate(3'000'001, pages);
    ASSERT_TRUE(buffer.ok()) << buffer.status();
    EXPECT_EQ(buffer->size(), 3'000'001);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % (pages == Pages::kHuge ? 1 << 21 : 64),
              0u);
    for (uint8_t byte : buffer->span()) ASSERT_EQ(byte, 0);
    buffer->data()[3'000'000] = 1;
  }
}

TEST(BufferTest, MovingLeavesOneOwner) {
  Buffer a = std::move(Buffer::Allocate(100, Pages::kNormal)).value();
  uint8_t* data = a.data();
  Buffer b = std::move(a);
  EXPECT_EQ(b.data(), data);
  EXPECT_EQ(a.data(), nullptr);
}

TEST(BufferTest, ImpossibleSizesAreErrorsThatNameTheSize) {
  EXPECT_EQ(Buffer::Allocate(-5, Pages::kNormal).status().message(), "buffer of -5 bytes");
  const absl::Status huge = Buffer::Allocate(int64_t{1} << 60, Pages::kNormal).status();
  EXPECT_EQ(huge.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(huge.message().find("1152921504606846976"), std::string::npos);
  EXPECT_EQ(Buffer::Allocate(0, Pages::kHuge)->size(), 0);
}

TEST(BufferTest, LiesInHugePagesWhereTheSystemHasThem) {
  std::ifstream setting("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string line;
  std::getline(setting, line);
  if (line.empty() || line.find("[never]") != std::string::npos) {
    GTEST_SKIP() << "no transparent huge pages here: " << line;
  }
  Buffer buffer = std::move(Buffer::Allocate(64 << 20, Pages::kHuge)).value();
  EXPECT_EQ(buffer.huge_bytes(), 0);  // nothing is touched yet
  for (int64_t i = 0; i < buffer.size(); i += 4096) buffer.data()[i] = 1;
  // Fragmented memory may leave some of it in small pages, never all of it.
  EXPECT_GT(buffer.huge_bytes(), 0);
  EXPECT_LE(buffer.huge_bytes(), (64 << 20) + (2 << 20));
}

}  // namespace
}  // namespace mneme::kernels
