#include "loader/native/checksum.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "loader/native/manifest.h"

namespace mneme::loader {
namespace {

// The first is the specification's; the others are kept here so that folders written by one build
// are right for the next.
TEST(ChecksumTest, IsXxh3) {
  EXPECT_EQ(ChecksumOf(""), "2d06800538d394c2");
  EXPECT_EQ(ChecksumOf("mneme"), "98c3f069b8ddbdd1");
  EXPECT_EQ(WideChecksumOf("mneme"), "81110fb47633c16340add6e5ecda1412");
  EXPECT_EQ(HexChecksum(0xab), "00000000000000ab");
}

TEST(ChecksumTest, PiecesMakeNoDifference) {
  std::vector<uint8_t> bytes(static_cast<size_t>(kChecksumBytes) * 2 + 1000);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 2654435761u >> 7);
  const std::span<const uint8_t> all(bytes);
  const auto block = static_cast<size_t>(kChecksumBytes);
  const std::vector<std::string> want = {ChecksumOf(all.first(block)),
                                         ChecksumOf(all.subspan(block, block)),
                                         ChecksumOf(all.subspan(2 * block))};
  TensorChecksums sums;
  for (const size_t step : {bytes.size(), block, size_t{999'983}}) {
    for (size_t at = 0; at < bytes.size(); at += step) {
      sums.Add(all.subspan(at, std::min(step, bytes.size() - at)));
    }
    EXPECT_EQ(sums.Take(), want) << step;
  }
  // A tensor that fills its blocks has no checksum of nothing.
  sums.Add(all.first(block));
  EXPECT_EQ(sums.Take(), std::vector<std::string>{want[0]});
  EXPECT_TRUE(sums.Take().empty());
}

}  // namespace
}  // namespace mneme::loader
