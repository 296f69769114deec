#include "kernels/traffic/traffic.h"

#include "gtest/gtest.h"

namespace mneme::kernels {
namespace {

TEST(TrafficTest, SumsByClassAndDirection) {
  Traffic a;
  a.Read(TrafficClass::kKeys, 5);
  a.Write(TrafficClass::kKv, 7);
  Traffic b;
  b.Read(TrafficClass::kKeys, 2);
  b += a;
  EXPECT_EQ(b.read_bytes[static_cast<int>(TrafficClass::kKeys)], 7u);
  EXPECT_EQ(b.written_bytes[static_cast<int>(TrafficClass::kKv)], 7u);
  EXPECT_EQ(b.written_bytes[static_cast<int>(TrafficClass::kKeys)], 0u);
  EXPECT_FALSE(a == b);
}

TEST(TrafficTest, EveryClassHasAName) {
  EXPECT_STREQ(TrafficClassName(TrafficClass::kDenseWeights), "dense_weights");
  EXPECT_STREQ(TrafficClassName(TrafficClass::kExchange), "exchange");
}

}  // namespace
}  // namespace mneme::kernels
