#include "kernels/device/host_cores.h"

#include "gtest/gtest.h"

namespace mneme::kernels {
namespace {

TEST(HostCoresTest, ReadsQuotas) {
  EXPECT_EQ(CoresOfQuota("200000 100000"), 2);
  EXPECT_EQ(CoresOfQuota("250000 100000"), 2);
  EXPECT_EQ(CoresOfQuota("50000 100000"), 1);
  EXPECT_EQ(CoresOfQuota("max 100000"), 0);
  EXPECT_EQ(CoresOfQuota(""), 0);
  EXPECT_EQ(CoresOfQuota("200000"), 0);
  EXPECT_EQ(CoresOfQuota("200000 x"), 0);
  EXPECT_EQ(CoresOfQuota("200000 0"), 0);
}

TEST(HostCoresTest, ThereIsOne) { EXPECT_GE(UsableCores(), 1); }

}  // namespace
}  // namespace mneme::kernels
